"""What the lab's own tests share: bare httpx, so that only the lab is put to the test."""

from collections.abc import Iterator

import httpx
import pytest

from resilience.lab import Server


@pytest.fixture
def server() -> Iterator[Server]:
    """A healthy server process."""
    with Server() as running:
        yield running


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    """A client that keeps connections and gives up after 5 s, or earlier where a test says so."""
    with httpx.Client(trust_env=False, verify=False, timeout=5.0) as bare:
        yield bare
