"""A daemon's web face, on real sockets."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientSession, TCPConnector
from aiohttp.test_utils import TestClient, TestServer
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from prometheus_client.parser import text_string_to_metric_families
from unit.daemon.steady import MEMBER, Steady

from fedchain.core.errors import ConfigError, TaskError
from fedchain.daemon.settings import TlsTable, WebTable
from fedchain.daemon.web import application, calling, read_token, serve
from fedchain.store.files import FileBlobs
from fedchain.store.gateway import routes
from fedchain.store.peers import PeerStore

TOKEN = "a long random word"


@asynccontextmanager
async def asked(service: Steady, token: str | None = TOKEN) -> AsyncIterator[TestClient]:
    async with TestClient(TestServer(application(service, token))) as client:
        yield client


async def test_it_is_alive() -> None:
    async with asked(Steady()) as client, client.get("/healthz") as answer:
        assert (answer.status, await answer.json()) == (200, {"status": "alive"})


async def test_it_is_ready_when_nothing_stands_in_its_way() -> None:
    service = Steady()
    async with asked(service) as client:
        async with client.get("/readyz") as answer:
            assert (answer.status, await answer.json()) == (200, {"ready": True, "obstacle": None})
        service.hindrance = "the chain is down"
        async with client.get("/readyz") as answer:
            assert (answer.status, await answer.json()) == (503, {"ready": False, "obstacle": "the chain is down"})
        async with client.get("/healthz") as answer:
            assert answer.status == 200


async def test_metrics_are_what_prometheus_reads() -> None:
    service = Steady()
    async with asked(service) as client:
        service.looks.inc(41)
        async with client.get("/metrics") as answer:
            assert answer.content_type == "text/plain"
            families = {family.name: family for family in text_string_to_metric_families(await answer.text())}
    assert families["fedchain_looks"].type == "counter"
    assert families["fedchain_looks"].documentation == "Times that it looked around"
    assert {sample.name: sample.value for sample in families["fedchain_looks"].samples}["fedchain_looks_total"] == 42


async def test_status() -> None:
    async with asked(Steady()) as client, client.get("/status") as answer:
        status = await answer.json()
    assert (status["member"], status["records"], status["obstacle"]) == (MEMBER, 0, None)


async def test_control_with_the_token() -> None:
    service = Steady()
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with asked(service) as client:
        async with client.post("/control/pause", headers=headers) as answer:
            assert (answer.status, (await answer.json())["obstacle"]) == (200, "paused")
        async with client.post("/control/resume", headers=headers) as answer:
            assert (answer.status, (await answer.json())["obstacle"]) == (200, None)
        async with client.post("/control/explode", headers=headers) as answer:
            assert (answer.status, await answer.text()) == (400, "control has pause and resume, not explode\n")
        async with client.get("/control/pause", headers=headers) as answer:
            assert answer.status == 405
    assert service.obstacle() is None


@pytest.mark.parametrize("given", [None, "", "Bearer ", "Bearer wrong", f"Bearer {TOKEN}x", f"Basic {TOKEN}"])
async def test_control_without_the_token(given: str | None) -> None:
    service = Steady()
    headers = {} if given is None else {"Authorization": given}
    async with asked(service) as client, client.post("/control/pause", headers=headers) as answer:
        assert (answer.status, service.obstacle()) == (401, None)
        assert "web.token_file" in await answer.text()


@pytest.mark.parametrize("given", ["Bearer ", "Bearer None", f"Bearer {TOKEN}"])
async def test_control_where_no_token_is_set(given: str) -> None:
    service = Steady()
    async with (
        asked(service, None) as client,
        client.post("/control/pause", headers={"Authorization": given}) as answer,
    ):
        assert (answer.status, service.obstacle()) == (401, None)


async def test_control_with_a_token_that_is_no_text() -> None:
    async with asked(Steady()) as client:
        assert client.port is not None
        reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
        writer.write(b"POST /control/pause HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\n\r\n")
        assert b" 401 " in await reader.readline()
        writer.close()
        await writer.wait_closed()


def test_the_token_is_read_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    assert read_token(WebTable(port=1)) is None
    with pytest.raises(ConfigError, match=r"web\.token_file = .*token: No such file"):
        read_token(WebTable(port=1, token_file=file))
    file.write_text(f"{TOKEN}\n")
    assert read_token(WebTable(port=1, token_file=file)) == TOKEN
    file.write_text("\n")
    with pytest.raises(ConfigError, match=r"web\.token_file = .*token: the file is empty"):
        read_token(WebTable(port=1, token_file=file))
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"web\.token_file = .*token: not text"):
        read_token(WebTable(port=1, token_file=file))


async def test_work_that_fails_ends_the_daemon_with_its_error(free_port: Callable[[], int]) -> None:
    service = Steady()
    serving = asyncio.create_task(serve(application(service, None), WebTable(port=free_port())))
    service.end.set_exception(TaskError("the task is wrong"))
    with pytest.raises(TaskError, match="the task is wrong"):
        await asyncio.wait_for(serving, 5)


async def test_work_that_ends_ends_the_daemon(free_port: Callable[[], int]) -> None:
    service = Steady()
    service.end.set_result(None)
    await asyncio.wait_for(serve(application(service, None), WebTable(port=free_port())), 5)
    assert not service.was_cancelled


async def test_a_port_that_is_taken(free_port: Callable[[], int]) -> None:
    service = Steady()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"web.port = {port}: cannot listen on 127.0.0.1"):
            await serve(application(service, None), WebTable(port=port))
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1"):
        await serve(application(Steady(), None), WebTable(port=free_port(), host="192.0.2.1"))
    assert service.was_cancelled


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_after_open_requests(free_port: Callable[[], int], number: signal.Signals) -> None:
    port, script = free_port(), Path(__file__).with_name("steady.py")
    daemon = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", str(script), str(port), stdout=-1, stderr=-1
    )
    try:
        async with ClientSession() as session, asyncio.timeout(20):
            await until_up(session, f"http://127.0.0.1:{port}")
            async with asyncio.TaskGroup() as tasks:
                open_request = tasks.create_task(get(session, f"http://127.0.0.1:{port}/slow"))
                assert daemon.stdout is not None
                assert await daemon.stdout.readline() == b"asked\n"
                daemon.send_signal(number)
            assert open_request.result() == "answered"
            out, errors = await daemon.communicate()
    finally:
        if daemon.returncode is None:
            daemon.kill()
            await daemon.wait()
    assert (daemon.returncode, out, errors) == (0, b"left tidy\n", b"")


async def get(session: ClientSession, url: str) -> str:
    async with session.get(url) as answer:
        return await answer.text()


async def until_up(session: ClientSession, url: str) -> None:
    while True:
        try:
            await get(session, url + "/healthz")
        except ClientError:
            await asyncio.sleep(0.02)
        else:
            return


@dataclass(frozen=True)
class Authority:
    """A CA that signs certificates for this machine."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def create(cls, folder: Path, name: str) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _certificate(name, name, key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, SHA256())
        )
        made = cls(folder / name, key, certificate)
        made.folder.mkdir()
        made.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return made

    @property
    def file(self) -> Path:
        return self.folder / "ca.pem"

    def issue(self, name: str, client_ca: Path | None = None, password: bytes | None = None) -> TlsTable:
        """Issue a certificate for 127.0.0.1, as server and client."""
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = self.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        assert isinstance(issuer, str)
        certificate = (
            _certificate(name, issuer, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .sign(self.key, SHA256())
        )
        (self.folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        secrecy = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        (self.folder / f"{name}.key").write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secrecy)
        )
        return TlsTable(certificate=self.folder / f"{name}.pem", key=self.folder / f"{name}.key", client_ca=client_ca)


def _certificate(subject: str, issuer: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("tls"), "ours")


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("tls"), "others")


@asynccontextmanager
async def daemon(port: int, tls: TlsTable, blobs: FileBlobs | None = None) -> AsyncIterator[str]:
    """Serve over TLS, and end by cancelling."""
    table = WebTable(port=port, tls=tls)
    serving = asyncio.create_task(serve(application(Steady(), None, routes(blobs) if blobs else ()), table))
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


def trusting(authority: Authority, shown: TlsTable | None = None) -> ssl.SSLContext:
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
        async with caller(calling(ours.issue("other-site", ours.file))) as session:
            store = PeerStore(FileBlobs(tmp_path / "fetched"), [url], session)
            assert (await store.fetch(content)).read(0, content.size) == b"weights"
        for context in (calling(None), calling(others.issue("stranger", ours.file))):
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
            calling(wrong)


async def test_a_daemon_does_not_begin_with_wrong_certificates(
    free_port: Callable[[], int], ours: Authority, tmp_path: Path
) -> None:
    wrong = ours.issue("site").model_copy(update={"key": tmp_path / "missing.key"})
    with pytest.raises(ConfigError, match=r"web\.tls: .*missing\.key"):
        await serve(application(Steady(), None), WebTable(port=free_port(), tls=wrong))
