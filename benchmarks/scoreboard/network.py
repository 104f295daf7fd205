"""A network of our own for every cell: private loopback addresses, a free port 53, a resolv.conf, nothing to clean up.

As root by ``unshare``; otherwise in a user namespace, where the system allows it. So nobody's ports, firewall or names
are touched, and every subject looks names up as it would in production: through the system's resolver.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SUBNET = "10.77.0.1/16"
NAMESERVER = "10.77.9.53"
PROXY = "10.77.9.80"
_UNSHARE = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]


def entering() -> list[str]:
    """Return the command line that runs what follows it inside new namespaces."""
    return _UNSHARE if os.geteuid() == 0 else [*_UNSHARE, "--user", "--map-root-user"]


def missing() -> str:
    """Say what this machine lacks; nothing when it has all that a cell needs."""
    for program in ("unshare", "ip", "mount"):
        if shutil.which(program) is None:
            return f"{program} (util-linux, iproute2) is not installed"
    tried = subprocess.run([*entering(), "true"], capture_output=True, text=True, check=False)
    return f"no namespaces: {tried.stderr.strip()}" if tried.returncode else ""


def set_up(scratch: Path) -> None:
    """Inside the namespaces: a /16 of addresses on the loopback device, and our nameserver in resolv.conf."""
    _run("ip", "link", "set", "lo", "up")
    _run("ip", "addr", "add", SUBNET, "dev", "lo")
    conf = scratch / "resolv.conf"
    conf.write_text(f"nameserver {NAMESERVER}\n")
    _run("mount", "--bind", str(conf), "/etc/resolv.conf")


def black_hole(host: str, port: int) -> None:
    """Drop every packet to an address, of new connections and of old ones."""
    chain = "type filter hook input priority 0;"
    rule = f"ip daddr {host} tcp dport {port} drop"
    _run("nft", "-f", "-", stdin=f"table inet hole {{\nchain arriving {{\n{chain}\n{rule}\n}}\n}}\n")


def clear() -> None:
    """Let packets pass."""
    _run("nft", "flush", "ruleset")


def _run(*command: str, stdin: str = "") -> None:
    subprocess.run(command, input=stdin, text=True, check=True)
