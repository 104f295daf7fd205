"""A private machine inside this one: namespaces for network and mounts, of the test process itself.

In there 127.0.0.0/8 and every port are free, any address can be put on `lo`, packets can be dropped, and the resolver's
files are ours. Nothing has to be cleaned up: it all goes with the process.
"""

import contextlib
import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

_NEW_MOUNTS, _NEW_USER, _NEW_NETWORK = 0x00020000, 0x10000000, 0x40000000
_RECURSIVE, _PRIVATE, _BIND = 0x4000, 1 << 18, 0x1000
_ADMIN_PATH = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"
_libc = ctypes.CDLL(None, use_errno=True)

RESOLVER = "127.0.0.1"
"""Where the resolver's file says that a nameserver is, on port 53."""


def program(name: str) -> str | None:
    """Return the path of a program of the administrator's; None when it is not installed."""
    return shutil.which(name, path=_ADMIN_PATH)


def run(*command: str, given: str | None = None) -> str:
    """Run a program to its end and return what it says; raise when it fails."""
    path = program(command[0]) or command[0]
    done = subprocess.run([path, *command[1:]], input=given, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _mount(source: Path | str, target: str, flags: int) -> None:
    _call("mount", os.fsencode(source), os.fsencode(target), None, ctypes.c_ulong(flags), None)


class Place:
    """The private machine, once `enter` has made it."""

    def __init__(self, folder: Path) -> None:
        self.missing = ""
        """Why there is none; empty when there is one."""
        self.resolv_conf = folder / "resolv.conf"
        self.hosts = folder / "hosts"
        self._ours = ""

    def enter(self) -> None:
        """Move this process into it."""
        if not program("ip"):
            self.missing = "the `ip` program is missing (Debian: iproute2)"
            return
        self._ours = str(Path("/proc/self/ns/net").readlink())
        try:
            self._unshare()
            _mount("none", "/", _RECURSIVE | _PRIVATE)
            self.name_servers(RESOLVER)
            self.known_hosts()
            _mount(self.resolv_conf, "/etc/resolv.conf", _BIND)
            _mount(self.hosts, "/etc/hosts", _BIND)
            run("ip", "link", "set", "lo", "up")
        except OSError as error:
            self.missing = f"no network namespace can be made here: {error}; run it as root"

    @staticmethod
    def _unshare() -> None:
        user, group = os.getuid(), os.getgid()
        if user == 0:
            _call("unshare", _NEW_MOUNTS | _NEW_NETWORK)
            return
        _call("unshare", _NEW_USER | _NEW_MOUNTS | _NEW_NETWORK)  # where the kernel lets anybody
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1", encoding="ascii")

    def name_servers(self, *addresses: str, options: str = "") -> None:
        """Set what the system's resolver asks. Without any: it asks 127.0.0.1, where perhaps nobody is."""
        lines = [*(f"nameserver {address}" for address in addresses), options]
        self.resolv_conf.write_text("\n".join(lines) + "\n", encoding="ascii")

    def known_hosts(self, **names: Sequence[str]) -> None:
        """Set the hosts file: addresses by name, with `_` for a dot."""
        lines = ["127.0.0.1 localhost", "::1 localhost"]
        lines += [f"{address} {name.replace('_', '.')}" for name, addresses in names.items() for address in addresses]
        self.hosts.write_text("\n".join(lines) + "\n", encoding="ascii")

    @contextlib.contextmanager
    def addresses(self, *addresses: str) -> Iterator[None]:
        """Have these addresses for a while, on `lo`."""
        for address in addresses:
            prefix = 128 if ":" in address else 32
            run("ip", "address", "add", f"{address}/{prefix}", "dev", "lo", *(["nodad"] if prefix == 128 else []))
        try:
            yield
        finally:
            for address in addresses:
                run("ip", "address", "del", f"{address}/{128 if ':' in address else 32}", "dev", "lo")


class Filter:
    """The packet filter of the private machine: what it swallows, by nftables."""

    def __init__(self) -> None:
        self.clear()

    @staticmethod
    def clear() -> None:
        """Let everything through."""
        run(
            "nft", "-f", "-",
            given="flush ruleset\ntable inet lab {\n"
            "chain in { type filter hook input priority 0; policy accept; }\n}\n",
        )  # fmt: skip

    @staticmethod
    def rule(text: str) -> None:
        """Add one rule for packets that arrive."""
        run("nft", "-f", "-", given=f"add rule inet lab in {text}\n")

    def black_hole(self, address: str) -> None:
        """Swallow whatever goes to an address, and comes from it."""
        family = "ip6" if ":" in address else "ip"
        self.rule(f"{family} daddr {address} drop")
        self.rule(f"{family} saddr {address} drop")
