"""HAProxy in the path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.scoreboard import network
from benchmarks.scoreboard.subjects.through_proxy import FRONT, open  # noqa: A004, F401 - the adapter's other half

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.scoreboard.scenarios import Scenario
    from benchmarks.scoreboard.told import Upstream

NOTE = (
    "2.6: leastconn, `timeout server` = attempt, 2 retries with redispatch, `retry-on` connection failures, empty answers, "
    "response timeouts and 503 (never for POST), `httpchk` every 500 ms, `observe layer7`, `server-template` by DNS"
)
_COMMON = """global
  maxconn 8000
resolvers lab
  nameserver one {nameserver}:53
  accepted_payload_size 4096
  timeout resolve 1s
  timeout retry 1s
  hold valid 1s
defaults
  mode http
  timeout connect {attempt}ms
  timeout client 30s
  timeout server {attempt}ms
  timeout queue {total}ms
  timeout check 500ms
  retries 2
  option redispatch 1
  retry-on conn-failure empty-response response-timeout 503
"""
_TIER = """frontend f{tier}
  bind {via}
  http-request disable-l7-retry if METH_POST
  default_backend b{tier}
backend b{tier}
  balance leastconn
  option httpchk GET /health
  server-template s 16 {name}:{port} check inter 500ms fall 2 rise 1 resolvers lab init-addr libc,none observe layer7 error-limit 5 on-error mark-down
"""


def configure(upstreams: Sequence[Upstream], scenario: Scenario, scratch: Path) -> list[str]:
    """Write the configuration; return the command."""
    attempt, total = round(scenario.attempt * 1000), round(scenario.total * 1000)
    text = _COMMON.format(nameserver=network.NAMESERVER, attempt=attempt, total=total)
    for tier, upstream in enumerate(upstreams):
        text += _TIER.format(tier=tier, via=upstream.via, name=upstream.name, port=upstream.port)
    (scratch / "haproxy.cfg").write_text(text)
    return ["haproxy", "-db", "-f", str(scratch / "haproxy.cfg")]
