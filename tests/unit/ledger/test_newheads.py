"""Subscriptions on real chains: a record is seen without polling, and a dropped connection comes back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from chains.programs import run_geth

from fedchain.core.ledger.records import Seq
from fedchain.ledger.ethereum import EthereumLedger, deploy
from fedchain.ledger.newheads import NewHeads
from fedchain.ledger.signer import RetryPolicy

NEVER_POLL = RetryPolicy(poll=600)


class Pipe:
    """Carries bytes to a server, until it is cut."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.opened = 0

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Drop all connections, and take no more."""
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(task := asyncio.current_task())
        self.opened += 1
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        try:
            await asyncio.gather(self._copy(reader, server_writer), self._copy(server_reader, writer))
        except (asyncio.CancelledError, OSError):
            pass
        finally:
            writer.transport.abort()
            server_writer.transport.abort()
            self._tasks.discard(task)

    @staticmethod
    async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.close()


@pytest.fixture
async def pipe(devnet_url: str) -> AsyncIterator[Pipe]:
    one = Pipe(int(devnet_url.rpartition(":")[2]))
    await one.open()
    yield one
    await one.cut()


async def test_a_record_is_seen_without_polling(chain, devnet_url):
    reader = await chain.connect(retry_policy=NEVER_POLL, subscribe=devnet_url.replace("http", "ws"))
    async with reader, await chain.connect() as writer:
        waiting = asyncio.create_task(reader.wait(Seq(3), timeout=500))
        await asyncio.sleep(0)
        await writer.append(chain.update(1))
        await asyncio.wait_for(waiting, 20)
        assert await chain.samples(reader) == [1]


async def test_a_dropped_connection_comes_back(chain, pipe):
    heads = NewHeads(f"ws://127.0.0.1:{pipe.port}", retry_s=0.02)
    try:
        async with asyncio.timeout(30):
            await reach(heads, lambda: heads._connected)
            await pipe.cut()
            await reach(heads, lambda: not heads._connected)
            await pipe.open()
            await reach(heads, lambda: heads._connected)
            assert pipe.opened >= 2
            seen = heads.seen
            await chain.rpc("evm_mine")
            await heads.wait(seen, 600)
            assert heads.seen > seen
    finally:
        await heads.close()


async def test_without_a_connection_it_is_looked_from_time_to_time(chain, caplog):
    with caplog.at_level(logging.INFO):
        heads = NewHeads("ws://user:password@127.0.0.1:9/secretkey", retry_s=0.02)
        async with asyncio.timeout(10):
            await reach(heads, lambda: heads.seen)
            await heads.wait(heads.seen, 0.01)
        await heads.close()
    assert "no news of blocks from ws://127.0.0.1:9" in caplog.text
    assert not re.search("password|secretkey", caplog.text)


async def test_geth_tells_of_blocks_too(tmp_path: Path):
    from eth_account import Account

    with contextlib.ExitStack() as stack:
        geth = await asyncio.to_thread(stack.enter_context, run_geth(tmp_path))
        key = Account.create()
        await geth.give(key.address)
        contract = (await deploy(geth.url, key, retry_policy=RetryPolicy(poll=0.02))).federation.contract
        async with await EthereumLedger.connect(
            geth.url, contract, retry_policy=NEVER_POLL, confirmations=1, subscribe=geth.ws
        ) as ledger:
            waiting = asyncio.create_task(ledger.wait(Seq(0), timeout=500))
            await geth.give(Account.create().address)
            await asyncio.wait_for(waiting, 20)
            assert len(await ledger.records()) == 1


async def reach(heads: NewHeads, condition) -> None:
    while not condition():
        await heads.wait(heads.seen, 0.05)
