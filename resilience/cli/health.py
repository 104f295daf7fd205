"""``resilience health URL``: is it alive? For a container's ``HEALTHCHECK``, where there is no curl.

::

    HEALTHCHECK --interval=5s --timeout=10s CMD ["python", "-m", "resilience", "health", "http://127.0.0.1:8080/readyz"]

One GET, one line, and exit code 0 or 1, whatever goes wrong: Docker reserves 2.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import NoReturn

import httpx

from resilience.client import Client
from resilience.core.errors import ResilienceError
from resilience.http.service import Service

_TIMEOUT = 1.0
"""Seconds: Kubernetes' default for a probe."""
_EXPECTED = range(200, 400)
"""Kubernetes' rule for HTTP probes; redirects are not followed."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(1, f"unhealthy: {message}\n")


def run(arguments: list[str]) -> int:
    """Check the URL given; print one line; return 0 when it is healthy, else 1."""
    parser = _Parser(prog="resilience health", description="Exit code 0 when a GET of URL is answered 200-399, else 1.")
    parser.add_argument("url", metavar="URL")
    parser.add_argument(
        "--timeout", type=float, default=_TIMEOUT, metavar="SECONDS", help="for everything together (1)"
    )
    given = parser.parse_args(arguments)
    healthy, line = check(given.url, given.timeout)
    sys.stdout.write(f"{'healthy' if healthy else 'unhealthy'}: {line}\n")
    return 0 if healthy else 1


def check(url: str, timeout: float) -> tuple[bool, str]:
    """Say whether `url` answers 200-399 within `timeout` seconds, and in a few words what it did."""
    started = time.monotonic()
    try:
        only_once = Service(total_timeout=timeout, retry=None, budget=None, circuit=None)
        with (
            Client(defaults=only_once, timeout=timeout, trust_env=False) as client,
            client.stream("GET", url) as answer,
        ):
            status = answer.status_code
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, ResilienceError) as error:  # names and bytes, too
        return False, f"{type(error).__name__}: {' '.join(str(error).split())}"
    return status in _EXPECTED, f"{status} in {(time.monotonic() - started) * 1000:.0f} ms"
