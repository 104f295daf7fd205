"""Is this process alive, is it ready? What a server says of itself, decided from what it knows already.

Alive looks at nothing outward: a restart mends no dependency, and a database that is down must not restart everybody
who uses it. Ready may: whoever cannot do without a dependency is better left out, as long as another replica can.
The form is that of the health check draft for HTTP APIs (draft-inadarei-api-health-check-06).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from resilience.core.errors import ConfigurationError
from resilience.core.hostport import ip, is_port

MEDIA_TYPE = "application/health+json"
OK, UNAVAILABLE = 200, 503
_FOUND = {"status", "output", "checks"}
_NAME = re.compile(r"(?:(?P<name>[A-Za-z0-9_.-]+)|\[(?P<ipv6>[^\[\]]+)\])(?::(?P<port>[0-9]{1,9}))?")
_FOUR_NUMBERS = re.compile(r"[0-9]+(?:\.[0-9]+){3}")


class Knowing(Protocol):
    """A client of ours, or whatever else has its ``status()``."""

    def status(self) -> Any:  # noqa: ANN401 - Status of http/status.py, of a floor above
        """Return what it knows of its services."""
        ...


@dataclass(frozen=True, slots=True)
class Finding:
    """What is known of one dependency."""

    status: str
    """``pass``, ``warn`` (it can be called, but not all of it), ``fail``."""
    output: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """An answer to a probe."""

    status: str
    output: str = ""
    checks: Mapping[str, Finding] | None = None

    @property
    def code(self) -> int:
        """200, or 503 when it fails."""
        return UNAVAILABLE if self.status == "fail" else OK

    def body(self, about: Mapping[str, str]) -> bytes:
        """Return it as JSON; `about` the service: version and the like, as the draft names them."""
        found: dict[str, Any] = {"status": self.status, **about}
        if self.output:
            found["output"] = self.output
        if self.checks:
            found["checks"] = {
                name: [{"status": finding.status} | ({"output": finding.output} if finding.output else {})]
                for name, finding in self.checks.items()
            }
        return json.dumps(found).encode()


ALIVE = Report("pass")


def readiness(*, started: bool, draining: bool, requires: Mapping[str, Knowing]) -> Report:
    """Say whether this process should get requests now: started, not draining, and every requirement can be called."""
    checks = {name: dependency(name, client) for name, client in requires.items()}
    if draining:
        return Report("fail", "draining", checks)
    if not started:
        return Report("fail", "starting", checks)
    failed = [name for name, finding in checks.items() if finding.status == "fail"]
    if failed:
        return Report("fail", f"cannot do without {', '.join(failed)}", checks)
    worst = "warn" if any(finding.status == "warn" for finding in checks.values()) else "pass"
    return Report(worst, "", checks)


def dependency(name: str, client: Knowing) -> Finding:
    """Say what a client knows of a service, named as by `service_name`; nothing is asked of the service itself.

    Never called yet is a pass: a replica that waits for its first call to learn would never get one. Called at other
    ports only is a warning: the name may be a slip. A `status` that raises is a failure.
    """
    host, port = _split(name)
    try:
        known = [(*_split(key), service) for key, service in client.status().services.items()]
        findings = [_of(service) for named, at, service in known if named == host and port in {"", at}]
    except Exception as error:  # noqa: BLE001 - the probe wants an answer, whatever somebody's `status` does
        return Finding("fail", f"status() raised {type(error).__name__}")  # what it says is not for strangers
    if findings:
        return max(findings, key=lambda finding: ("pass", "warn", "fail").index(finding.status))
    elsewhere = sorted(at for named, at, _ in known if named == host and at)
    if elsewhere:
        return Finding("warn", f"not called yet, but at port {', '.join(elsewhere)}")
    return Finding("pass", "not called yet")


def facts(argument: str, value: Mapping[str, Any], /) -> dict[str, Any]:
    """Return what is to be said of the service in each answer.

    Raises ConfigurationError naming `argument` for what JSON cannot say, or would take the place of what a probe found.
    """
    expected = "a mapping of names to what JSON can say, other than status, output and checks"
    if not isinstance(value, Mapping):
        raise ConfigurationError(argument, value, expected)
    said = dict(value)
    try:
        json.dumps(said)
    except (TypeError, ValueError, RecursionError):
        raise ConfigurationError(argument, said, expected) from None
    if _FOUND & said.keys():
        raise ConfigurationError(argument, said, expected)
    return said


def service_name(argument: str, value: object) -> str:
    """Return ``host`` or ``host:port`` in one spelling, lower case and with brackets around an IPv6 address.

    Raises ConfigurationError naming `argument` for what is no name of a service. A name beyond ASCII is none here: what
    it is on the wire (``xn--…``), and so in `status`, whoever encodes it decides.
    """
    expected = "names like 'host' or 'host:port', in ASCII"
    if not isinstance(value, str):
        raise ConfigurationError(argument, value, expected)
    found = _NAME.fullmatch(f"[{value}]" if _is_ipv6(value) else value)
    if found is None or not (_is_name(found["name"]) if found["name"] else _is_ipv6(found["ipv6"])):
        shown = value.rpartition("@")[2].partition("?")[0]  # never a password
        raise ConfigurationError(argument, shown, expected)
    if found["port"] is not None and not is_port(int(found["port"])):
        raise ConfigurationError(argument, value, expected)
    host, port = _split(found[0])
    return f"{host}:{int(port)}" if port else host


def _is_name(text: str) -> bool:
    return _FOUR_NUMBERS.fullmatch(text) is None or ip(text) is not None  # not 10.0.0.999


def _is_ipv6(text: str) -> bool:
    return ":" in text and ip(text) is not None


def _split(name: str) -> tuple[str, str]:
    """Return host and port ("" for none); of the ways to write an IPv6 address, the shortest."""
    host, colon, port = name.lower().rpartition(":")
    if not colon or port.endswith("]"):
        host, port = name.lower(), ""
    address = ip(host[1:-1]) if host.startswith("[") else None
    return (host if address is None else f"[{address}]"), port


def _of(service: Any) -> Finding:  # noqa: ANN401 - a ServiceStatus
    # Full is no failure of the dependency: it is we who are busy.
    causes = [tuple(cause for cause in it.not_ready_because if cause != "full") for it in service.endpoints]
    total, able = len(causes), causes.count(())
    if total and able == total:
        return Finding("pass")
    why = "; ".join(sorted({", ".join(cause) for cause in causes if cause})) or "no endpoints"
    return Finding("warn" if able else "fail", f"{able} of {total} endpoints can be called: {why}")
