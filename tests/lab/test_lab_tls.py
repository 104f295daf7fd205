"""Certificates of an authority made on the spot."""

from pathlib import Path

import httpx
import pytest

from resilience.lab import Authority, Server


def test_only_its_own_names_are_trusted(tmp_path: Path) -> None:
    authority = Authority.create(tmp_path)
    with httpx.Client(trust_env=False, verify=authority.context()) as client:
        with Server(ssl=authority.issue("127.0.0.1", "good.test")) as server:
            assert server.url.startswith("https://")
            assert client.get(server.url).is_success
            server.fault(reset="after")
            with pytest.raises(httpx.TransportError):  # a reset under TLS shows as an end of file
                client.get(server.url)
        with (
            Server(ssl=authority.issue("*.evil.test")) as server,
            pytest.raises(httpx.ConnectError, match="verify failed"),
        ):
            client.get(server.url)
