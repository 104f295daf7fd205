"""Caddy in the path."""

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
    "2.11: `dynamic a` by DNS every second, `least_conn`, `lb_retries 2` (GETs), response header timeout = attempt, passive "
    "health: `fail_duration 2s`, `max_fails 3`, `unhealthy_status 503`. It does not repeat what was answered 503. A trade, seen "
    "in 503-all: 503s count as failures, so all three replicas are taken out when all fail; without `unhealthy_status` it answered 85.7 % "
    "(one cell): each 503 is passed on, and nobody is taken out when one answers 503"
)
_COMMON = """{
  admin off
  auto_https off
  persist_config off
}
"""
_TIER = """http://:{port} {{
  bind {host}
  reverse_proxy {{
    dynamic a {{
      name {name}
      port {upstream_port}
      refresh 1s
      resolvers {nameserver}
      versions ipv4
    }}
    lb_policy least_conn
    lb_retries 2
    lb_try_interval 1ms
    fail_duration 2s
    max_fails 3
    unhealthy_status 503
    header_up Host {name}
    transport http {{
      dial_timeout {attempt}ms
      response_header_timeout {attempt}ms
      keepalive_idle_conns_per_host 64
    }}
  }}
}}
"""


def configure(upstreams: Sequence[Upstream], scenario: Scenario, scratch: Path) -> list[str]:
    """Write the configuration; return the command."""
    text = _COMMON
    for it in upstreams:
        host, _, port = it.via.partition(":")
        text += _TIER.format(
            host=host, port=port, name=it.name, upstream_port=it.port, nameserver=network.NAMESERVER,
            attempt=round(scenario.attempt * 1000),
        )  # fmt: skip
    (scratch / "Caddyfile").write_text(text)
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(scratch / "Caddyfile")]
