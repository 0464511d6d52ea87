"""A daemon's web face, on real sockets."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientSession
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.parser import text_string_to_metric_families
from unit.daemon.steady import MEMBER, Steady

from fedchain.config.settings import WebConfig
from fedchain.core.errors import ConfigError, TaskError
from fedchain.daemon.web import application, run_until_signal

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
            assert (answer.status, await answer.json()) == (200, {"ready": True, "not_ready": None})
        service.blocked = "the chain is down"
        async with client.get("/readyz") as answer:
            assert (answer.status, await answer.json()) == (503, {"ready": False, "not_ready": "the chain is down"})
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
    assert (status["member"], status["records"], status["not_ready"]) == (MEMBER, 0, None)


async def test_control_with_the_token() -> None:
    service = Steady()
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with asked(service) as client:
        async with client.post("/control/pause", headers=headers) as answer:
            assert (answer.status, (await answer.json())["not_ready"]) == (200, "paused")
        async with client.post("/control/resume", headers=headers) as answer:
            assert (answer.status, (await answer.json())["not_ready"]) == (200, None)
        async with client.post("/control/explode", headers=headers) as answer:
            assert (answer.status, await answer.text()) == (400, "control has pause and resume, not explode\n")
        async with client.get("/control/pause", headers=headers) as answer:
            assert answer.status == 405
    assert service.not_ready() is None


@pytest.mark.parametrize("given", [None, "", "Bearer ", "Bearer wrong", f"Bearer {TOKEN}x", f"Basic {TOKEN}"])
async def test_control_without_the_token(given: str | None) -> None:
    service = Steady()
    headers = {} if given is None else {"Authorization": given}
    async with asked(service) as client, client.post("/control/pause", headers=headers) as answer:
        assert (answer.status, service.not_ready()) == (401, None)
        assert "web.token_file" in await answer.text()


@pytest.mark.parametrize("given", ["Bearer ", "Bearer None", f"Bearer {TOKEN}"])
async def test_control_where_no_token_is_set(given: str) -> None:
    service = Steady()
    async with (
        asked(service, None) as client,
        client.post("/control/pause", headers={"Authorization": given}) as answer,
    ):
        assert (answer.status, service.not_ready()) == (401, None)


async def test_control_with_a_token_that_is_no_text() -> None:
    async with asked(Steady()) as client:
        assert client.port is not None
        reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
        writer.write(b"POST /control/pause HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\n\r\n")
        assert b" 401 " in await reader.readline()
        writer.close()
        await writer.wait_closed()


async def test_work_that_fails_ends_the_daemon_with_its_error(free_port: Callable[[], int]) -> None:
    service = Steady()
    serving = asyncio.create_task(run_until_signal(application(service, None), WebConfig(port=free_port())))
    service.end.set_exception(TaskError("the task is wrong"))
    with pytest.raises(TaskError, match="the task is wrong"):
        await asyncio.wait_for(serving, 5)


async def test_work_that_ends_ends_the_daemon(free_port: Callable[[], int]) -> None:
    service = Steady()
    service.end.set_result(None)
    await asyncio.wait_for(run_until_signal(application(service, None), WebConfig(port=free_port())), 5)
    assert not service.was_cancelled


async def test_a_port_that_is_taken(free_port: Callable[[], int]) -> None:
    service = Steady()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"web.port = {port}: cannot listen on 127.0.0.1"):
            await run_until_signal(application(service, None), WebConfig(port=port))
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1"):
        await run_until_signal(application(Steady(), None), WebConfig(port=free_port(), host="192.0.2.1"))
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
