"""nginx in the path."""

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
    "1.22: `least_conn`, `proxy_read_timeout` = attempt, `proxy_next_upstream error timeout http_503` with 3 tries (never for "
    "POST), `max_fails=3 fail_timeout=2s`, keep-alive to upstreams. Where addresses change (rolling, dns-dead) the open-source "
    "version must resolve a variable, and has neither `least_conn` nor keep-alive. A trade, seen in 503-all: 503s count as failures, "
    "so all three replicas are taken out when all fail; with `max_fails=0` it answered 98.7 and 98.9 % there in time (a cell each), but takes nobody out when one fails"
)
_COMMON = """daemon off; worker_processes 1; pid nginx.pid; error_log stderr crit; events {{ worker_connections 8000; }}
http {{
  access_log off; resolver {nameserver} valid=1s ipv6=off; resolver_timeout 1s;
  client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
  proxy_http_version 1.1; keepalive_requests 100000; keepalive_timeout 60s;
  proxy_connect_timeout {attempt}ms; proxy_read_timeout {attempt}ms; proxy_send_timeout {attempt}ms;
  proxy_next_upstream error timeout http_503; proxy_next_upstream_tries 3; proxy_next_upstream_timeout {total}ms;
  {tiers}
}}
"""
_TIER = """{upstream}
  server {{ listen {via}; location / {{ {target} proxy_set_header Connection ""; proxy_set_header Host {name}; }} }}
"""
_MOVING = {"rolling", "dns-dead"}


def configure(upstreams: Sequence[Upstream], scenario: Scenario, scratch: Path) -> list[str]:
    """Write the configuration; return the command."""
    tiers = ""
    for tier, it in enumerate(upstreams):
        block, target = "", f"set $upstream {it.name}; proxy_pass http://$upstream:{it.port};"
        if scenario.name not in _MOVING:
            servers = " ".join(f"server {host}:{it.port} max_fails=3 fail_timeout=2s;" for host in it.hosts)
            block = f"upstream u{tier} {{ least_conn; {servers} keepalive 64; keepalive_requests 100000; }}"
            target = f"proxy_pass http://u{tier};"
        tiers += _TIER.format(upstream=block, via=it.via, target=target, name=it.name)
    attempt, total = round(scenario.attempt * 1000), round(scenario.total * 1000)
    text = _COMMON.format(nameserver=network.NAMESERVER, attempt=attempt, total=total, tiers=tiers)
    (scratch / "nginx.conf").write_text(text)
    return ["nginx", "-p", str(scratch), "-e", "stderr", "-c", str(scratch / "nginx.conf")]
