"""Real nameservers, started and stopped by the tests: dnsmasq and BIND."""

import abc
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import dns.exception
import dns.message
import dns.query
import dns.rdatatype
import dns.update

from tests.real.place import program

HOST = "127.0.0.1"
_PATIENCE = 10.0


class Nameserver(abc.ABC):
    """A nameserver's process on loopback."""

    def __init__(self, port: int, folder: Path) -> None:
        self.port = port
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"{HOST}:{self.port}"

    @abc.abstractmethod
    def command(self) -> list[str]:
        """Return how it is started."""

    def start(self) -> Self:
        """Start it and wait until it answers."""
        log = (self.folder / "log").open("ab")
        with log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=self.folder
            )
        self.wait_for("a.root-servers.net", None)
        return self

    def stop(self) -> None:
        """End it and wait until it is gone."""
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()

    def hang(self) -> None:
        """Let it fall silent."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGCONT)

    def ask(self, name: str, type_: str = "A") -> set[str]:
        """Return what it answers now."""
        query = dns.message.make_query(name, type_, use_edns=0)
        answer, _ = dns.query.udp_with_fallback(query, HOST, port=self.port, timeout=0.2)
        wanted = dns.rdatatype.from_text(type_)
        return {str(record) for rrset in answer.answer if rrset.rdtype == wanted for record in rrset}

    def wait_for(self, name: str, answer: set[str] | None, type_: str = "A") -> None:
        """Wait until it gives this answer; None: any at all."""
        end = time.monotonic() + _PATIENCE
        while True:
            assert self.process is not None
            assert self.process.poll() is None, (self.folder / "log").read_text(errors="replace")
            try:
                found = self.ask(name, type_)
            except (OSError, dns.exception.DNSException):
                found = None
            if found is not None and (answer is None or found == answer):
                return
            assert time.monotonic() < end, f"{self.address} says {found} of {name}, not {answer}"
            time.sleep(0.01)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


class Dnsmasq(Nameserver):
    """dnsmasq: addresses from a file, one TTL for all, a rotation of its own, no SOA with an absence."""

    def __init__(self, port: int, folder: Path, *, ttl: int = 1) -> None:
        super().__init__(port, folder)
        self._ttl = ttl
        self._names: dict[str, tuple[str, ...]] = {}
        self._file = folder / "names"
        self._file.write_text("", encoding="ascii")

    def command(self) -> list[str]:
        """Return how it is started."""
        return [
            program("dnsmasq") or "dnsmasq",
            "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--pid-file=",
            "--log-facility=-", "--log-queries", "--user=root", "--group=root", "--bind-interfaces",
            f"--listen-address={HOST}", f"--port={self.port}", f"--addn-hosts={self._file}", f"--local-ttl={self._ttl}",
            "--local=//", "--cache-size=10000",
        ]  # fmt: skip

    def set(self, name: str, addresses: Sequence[str]) -> None:
        """Have these addresses for a name, at once; none: it does not exist."""
        self.set_all({name: addresses})

    def set_all(self, names: Mapping[str, Sequence[str]]) -> None:
        """Have these addresses for several names, at once."""
        self._names |= {name: tuple(addresses) for name, addresses in names.items()}
        lines = [f"{address} {known}\n" for known, listed in self._names.items() for address in listed]
        self._file.write_text("".join(lines), encoding="ascii")
        if self.process is not None:
            self.process.send_signal(signal.SIGHUP)
            for name in list(names)[-1:]:
                self.wait_for(name, {address for address in names[name] if ":" not in address})

    def questions(self, name: str) -> int:
        """Return how often it was asked for a name."""
        log = (self.folder / "log").read_text(errors="replace")
        return sum(f"] {name} from " in line for line in log.splitlines() if "query[" in line)


class Bind(Nameserver):
    """BIND 9 with one zone that is changed by dynamic updates (RFC 2136)."""

    ZONE = "internal"

    def command(self) -> list[str]:
        """Return how it is started."""
        (self.folder / "named.conf").write_text(
            f"""
            options {{
                directory "{self.folder}"; pid-file none; session-keyfile none; managed-keys-directory "{self.folder}";
                listen-on port {self.port} {{ {HOST}; }}; listen-on-v6 {{ none; }};
                recursion no; dnssec-validation no; empty-zones-enable no; minimal-responses no;
                max-records-per-type 0; max-types-per-name 0; rrset-order {{ order cyclic; }};
                notify no; ixfr-from-differences no;
            }};
            controls {{ }};
            logging {{ channel here {{ stderr; severity info; }}; category default {{ here; }}; }};
            zone "{self.ZONE}" {{ type primary; file "zone"; allow-update {{ {HOST}; }}; }};
            """,
            encoding="ascii",
        )
        (self.folder / "zone").write_text(
            f"$TTL 1\n@ SOA ns.{self.ZONE}. admin.{self.ZONE}. 1 3600 600 86400 1\n@ NS ns.{self.ZONE}.\nns A {HOST}\n",
            encoding="ascii",
        )
        return [program("named") or "named", "-g", "-n", "1", "-c", str(self.folder / "named.conf")]

    def set(self, name: str, type_: str, values: Sequence[str], ttl: int = 1) -> None:
        """Replace the records of a name and type by a dynamic update; none: remove them."""
        self._update(name, type_, values, ttl, replace=True)

    def add(self, name: str, type_: str, values: Sequence[str], ttl: int = 1) -> None:
        """Add records by a dynamic update."""
        self._update(name, type_, values, ttl, replace=False)

    def _update(self, name: str, type_: str, values: Sequence[str], ttl: int, *, replace: bool) -> None:
        update = dns.update.UpdateMessage(self.ZONE)
        if replace:
            update.delete(f"{name}.", type_)
        for value in values:
            update.add(f"{name}.", ttl, type_, value)
        answer = dns.query.tcp(update, HOST, port=self.port, timeout=_PATIENCE)
        assert answer.rcode() == 0, answer
