"""Is this process alive, is it ready? What a server says of itself, decided from what it knows already.

Alive looks at nothing outward: a restart mends no dependency, and a database that is down must not restart everybody
who uses it. Ready may: whoever cannot do without a dependency is better left out, as long as another replica can.
The form is that of the health check draft for HTTP APIs (draft-inadarei-api-health-check-06).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

MEDIA_TYPE = "application/health+json"
OK, UNAVAILABLE = 200, 503


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
    """Say what a client knows of a service, as ``host`` or ``host:port``; nothing is asked of the service itself.

    Never called yet is a pass: a replica that waits for its first call to learn would never get one.
    """
    services = client.status().services
    met = [service for key, service in services.items() if name in {key, key.rpartition(":")[0]}]
    if not met:
        return Finding("pass", "not called yet")
    findings = [_of(service) for service in met]
    return max(findings, key=lambda finding: ("pass", "warn", "fail").index(finding.status))


def _of(service: Any) -> Finding:  # noqa: ANN401 - a ServiceStatus
    # Full is no failure of the dependency: it is we who are busy.
    causes = [tuple(cause for cause in it.not_ready_because if cause != "full") for it in service.endpoints]
    total, able = len(causes), causes.count(())
    if total and able == total:
        return Finding("pass")
    why = "; ".join(sorted({", ".join(cause) for cause in causes if cause})) or "no endpoints"
    return Finding("warn" if able else "fail", f"{able} of {total} endpoints can be called: {why}")
