"""Docker's own nameserver, which containers of a user-defined network are given: what its answers are worth.

It answers a service of Compose with every container's address. In Swarm it answers with one virtual address, behind
which the kernel balances connections, not calls; ``tasks.NAME`` stands for every replica. Each of its answers claims
to be good for 600 s, whatever happens to the containers: ``max_ttl`` is what counts.
"""

from __future__ import annotations

from pathlib import Path

NAMESERVER = "127.0.0.11"
_TASKS = "tasks."


def embedded(resolv_conf: str | Path = "/etc/resolv.conf", /) -> bool:
    """Say whether the system asks Docker's nameserver."""
    try:
        lines = Path(resolv_conf).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    return ["nameserver", NAMESERVER] in [line.split()[:2] for line in lines]


def advice(host: str, /, *, docker: bool) -> str:
    """Return what to say of a name with one address; empty where Docker has nothing to do with it."""
    if not docker or host.startswith(_TASKS):
        return ""
    return f"; in Docker Swarm, {_TASKS}{host} stands for every replica"
