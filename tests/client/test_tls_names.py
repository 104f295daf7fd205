"""A connection serves the name it was verified for, and no other, whatever the address."""

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import resilience
from resilience.lab import Authority, Server
from tests.http.raw import Raw
from tests.http.support import Face, attempts, static


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def good(authority: Authority) -> Iterator[Server]:
    """A server whose certificate is for good.test and fine.test."""
    with Server(ssl=authority.issue("good.test", "fine.test")) as server:
        yield server


@pytest.fixture
def context(authority: Authority) -> ssl.SSLContext:
    return authority.context()


def services(server: Server, *names: str, **options: object) -> dict[str, resilience.Service]:
    return {name: static(server, **options) for name in names}


async def test_a_name_is_verified_although_an_address_is_dialled(
    mode: str, good: Server, context: ssl.SSLContext
) -> None:
    async with Face(mode, services=services(good, "good.test"), verify=context) as face:
        response = await face.get(f"https://good.test:{good.port}/headers")
        assert response.json()["host"] == f"good.test:{good.port}"
        assert attempts(response) == [(good.address, 200, None)]


async def test_evil_never_rides_a_connection_verified_for_good(
    mode: str, good: Server, context: ssl.SSLContext
) -> None:
    good.reset_counts()
    async with Face(mode, services=services(good, "good.test", "evil.test"), verify=context) as face:
        for _ in range(3):
            assert (await face.get(f"https://good.test:{good.port}/")).status_code == 200
            with pytest.raises(httpx.ConnectError) as caught:
                await face.get(f"https://evil.test:{good.port}/secret", headers={"Host": "good.test"})
            assert "CERTIFICATE_VERIFY_FAILED" in str(caught.value)
    assert {seen.path for seen in good.requests} == {"/"}


async def test_nor_with_the_sni_of_another(mode: str, good: Server, context: ssl.SSLContext) -> None:
    good.reset_counts()
    as_good = {"sni_hostname": "good.test"}
    async with Face(mode, services=services(good, "other.test"), verify=context) as face:
        url = f"https://other.test:{good.port}"
        # The caller says what to verify, and that is verified …
        assert (await face.get(f"{url}/asked", extensions=as_good)).status_code == 200
        # … for this call alone: the name itself has not been.
        with pytest.raises(httpx.ConnectError):
            await face.get(f"{url}/stolen")
        with pytest.raises(httpx.ConnectError):
            await face.get(f"{url}/stolen", extensions={"sni_hostname": "evil.test"})
        assert (await face.get(f"{url}/asked", extensions=as_good)).status_code == 200
    assert [seen.path for seen in good.requests] == ["/asked", "/asked"]
    assert good.accepted >= 1


async def test_two_names_valid_for_one_certificate_still_share_no_connection(
    mode: str, good: Server, context: ssl.SSLContext
) -> None:
    good.reset_counts()
    async with Face(mode, services=services(good, "good.test", "fine.test"), verify=context) as face:
        for name in ("good.test", "fine.test", "good.test", "fine.test"):
            assert (await face.get(f"https://{name}:{good.port}/")).status_code == 200
    assert good.accepted == 2


async def test_a_certificate_for_another_name_is_worth_another_endpoint_only(
    mode: str, authority: Authority, good: Server, context: ssl.SSLContext
) -> None:
    with Server("127.0.0.2", ssl=authority.issue("evil.test")) as impostor:
        service = static(impostor, good)
        async with Face(mode, services={"good.test": service}, verify=context) as face:
            for _ in range(4):
                response = await face.post(f"https://good.test:{good.port}/echo", content=b"order")
                assert response.content == b"order"
        service = static(impostor)
        async with Face(mode, services={"good.test": service}, verify=context) as face:
            with pytest.raises(httpx.ConnectError) as caught:
                await face.get(f"https://good.test:{good.port}/")
            assert len(caught.value.attempts) == 1
        assert impostor.count == 0


async def test_a_client_certificate_is_shown(mode: str, good: Server, authority: Authority) -> None:
    chain, _ = authority.issue("client.test")
    context = authority.context()
    context.load_cert_chain(chain)
    async with Face(mode, services=services(good, "good.test"), verify=context) as face:
        assert (await face.get(f"https://good.test:{good.port}/")).status_code == 200


async def test_verification_can_be_switched_off_by_who_asks_for_it(mode: str, good: Server) -> None:
    async with Face(mode, services=services(good, "evil.test"), verify=False) as face:
        assert (await face.get(f"https://evil.test:{good.port}/")).status_code == 200


async def test_what_speaks_no_tls_is_a_connect_error(mode: str, context: ssl.SSLContext) -> None:
    def no_tls(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 400 what?\r\n\r\n")

    with Raw(no_tls) as raw:
        async with Face(mode, verify=context, defaults=resilience.Service(retry=None)) as face:
            with pytest.raises(httpx.ConnectError) as caught:
                await face.get(f"https://localhost:{raw.port}/")
            assert face.in_flight() == 0
    assert caught.value.attempts[0].blame == "bad"


def test_one_context_serves_all_endpoints(tmp_path: Path) -> None:
    with resilience.Client(
        services={"a.test": resilience.Service(discovery=resilience.Static(["10.0.0.1:1", "10.0.0.2:1"]))}
    ) as client:
        transport = client._transport
        upstream, _ = transport._upstreams.of(httpx.URL("https://a.test:1"), transport._make)
        contexts = {
            id(transport._exchange._transports.of(endpoint).pool.ssl_context) for endpoint in upstream.endpoints
        }
    assert len(contexts) == 1
