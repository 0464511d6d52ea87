"""TLS and mutual TLS on real sockets."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientSession, TCPConnector
from unit.daemon.certificates import Authority
from unit.daemon.steady import Steady

from fedchain.config.settings import TlsConfig, WebConfig
from fedchain.core.errors import ConfigError
from fedchain.daemon.web import application, client_tls, run_until_signal
from fedchain.store.files import FileBlobs
from fedchain.store.gateway import routes
from fedchain.store.peers import PeerStore


async def get(session: ClientSession, url: str) -> str:
    async with session.get(url) as answer:
        return await answer.text()


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("tls"), "ours")


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("tls"), "others")


@asynccontextmanager
async def daemon(port: int, tls: TlsConfig, blobs: FileBlobs | None = None) -> AsyncIterator[str]:
    """Serve over TLS, and end by cancelling."""
    table = WebConfig(port=port, tls=tls)
    serving = asyncio.create_task(run_until_signal(application(Steady(), None, routes(blobs) if blobs else ()), table))
    try:
        async with asyncio.timeout(5):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.01)
                else:
                    writer.close()
                    break
        yield table.public_url
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


@asynccontextmanager
async def caller(context: ssl.SSLContext) -> AsyncIterator[ClientSession]:
    async with ClientSession(connector=TCPConnector(ssl=context)) as session:
        yield session


def trusting(authority: Authority, shown: TlsConfig | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.file)
    if shown:
        context.load_cert_chain(shown.certificate, shown.key)
    return context


async def test_tls(free_port: Callable[[], int], ours: Authority, others: Authority) -> None:
    async with daemon(free_port(), ours.issue("site")) as url:
        assert url.startswith("https://")
        async with caller(trusting(ours)) as session:
            assert await get(session, f"{url}/healthz") == '{"status": "alive"}'
        async with caller(trusting(others)) as session:
            with pytest.raises(ClientError, match="CERTIFICATE_VERIFY_FAILED"):
                await get(session, f"{url}/healthz")
        async with ClientSession() as session:
            with pytest.raises(ClientError):
                await get(session, f"{url.replace('https', 'http')}/healthz")


async def test_mutual_tls_serves_clients_of_one_ca(
    free_port: Callable[[], int], ours: Authority, others: Authority
) -> None:
    async with daemon(free_port(), ours.issue("site", ours.file)) as url:
        async with caller(trusting(ours, ours.issue("client"))) as session:
            assert await get(session, f"{url}/healthz") == '{"status": "alive"}'
        for shown in (None, others.issue("stranger")):
            async with caller(trusting(ours, shown)) as session:
                with pytest.raises(ClientError):
                    await get(session, f"{url}/healthz")


async def test_daemons_read_from_each_other_over_mutual_tls(
    free_port: Callable[[], int], ours: Authority, others: Authority, tmp_path: Path
) -> None:
    blobs = FileBlobs(tmp_path / "blobs")
    writer = blobs.create()
    writer.write(b"weights")
    content = writer.commit()
    async with daemon(free_port(), ours.issue("site", ours.file), blobs) as url:
        async with caller(client_tls(ours.issue("other-site", ours.file))) as session:
            store = PeerStore(FileBlobs(tmp_path / "fetched"), [url], session)
            assert (await store.fetch(content)).read(0, content.size) == b"weights"
        for context in (client_tls(None), client_tls(others.issue("stranger", ours.file))):
            async with caller(context) as session:
                with pytest.raises(ClientError):
                    await get(session, f"{url}/healthz")


def test_certificates_that_cannot_be_used(ours: Authority, tmp_path: Path) -> None:
    table = ours.issue("site", ours.file)
    (tmp_path / "empty.pem").touch()
    encrypted = ours.issue("encrypted", password=b"secret")
    for wrong in (
        table.model_copy(update={"certificate": tmp_path / "missing.pem"}),
        table.model_copy(update={"key": ours.issue("another").key}),
        table.model_copy(update={"client_ca": tmp_path / "missing.pem"}),
        table.model_copy(update={"client_ca": tmp_path / "empty.pem"}),
        encrypted,
    ):
        with pytest.raises(ConfigError, match=r"web\.tls: .*\.pem"):
            client_tls(wrong)


async def test_a_daemon_does_not_begin_with_wrong_certificates(
    free_port: Callable[[], int], ours: Authority, tmp_path: Path
) -> None:
    wrong = ours.issue("site").model_copy(update={"key": tmp_path / "missing.key"})
    with pytest.raises(ConfigError, match=r"web\.tls: .*missing\.key"):
        await run_until_signal(application(Steady(), None), WebConfig(port=free_port(), tls=wrong))
