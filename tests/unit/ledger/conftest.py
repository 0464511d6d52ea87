"""A devnet, a federation on it, and a proxy in front of it that lies, fails and kills at will."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from eth_account import Account
from eth_account.signers.local import LocalAccount

from fedchain.core.ledger.content import Content, Digest
from fedchain.core.ledger.records import Head, MemberSet, ModelPublished, Role, Seq, UpdateSubmitted, Version, address
from fedchain.devnet.anvil import find_anvil, fund, start, stop
from fedchain.ledger.endpoint import Endpoint
from fedchain.ledger.ethereum import Deployment, EthereumLedger, deploy
from fedchain.ledger.signer import RetryPolicy

QUICK = RetryPolicy(poll=0.02, resend=0.2, replace=60)
BLOB = Content(Digest(bytes(range(32))), 123)

Forward = Callable[[], Awaitable[dict[str, Any]]]
"""Ask the real endpoint and return its answer."""

Twist = Callable[[Any, Forward], Awaitable[dict[str, Any] | web.StreamResponse]]
"""What the proxy does with one method, given its parameters."""


class Proxy:
    """A JSON-RPC endpoint that hands requests on, except where a twist says otherwise."""

    def __init__(self, upstream: str) -> None:
        self.twists: dict[str, Twist] = {}
        self.calls: list[tuple[str, Any]] = []
        self._upstream = upstream
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def counts(self) -> Counter[str]:
        return Counter(method for method, _ in self.calls)

    async def start(self) -> None:
        self._session = ClientSession()
        application = web.Application()
        application.router.add_post("/", self._answer)
        self._runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _answer(self, http: web.Request) -> web.StreamResponse:
        request = await http.json()
        method, params = request["method"], request["params"]
        self.calls.append((method, params))

        async def forward() -> dict[str, Any]:
            async with self._session.post(self._upstream, json=request) as response:
                return json.loads(await response.read())

        twist = self.twists.get(method)
        answer = await (twist(params, forward) if twist else forward())
        if isinstance(answer, web.StreamResponse):
            return answer
        return web.json_response({"jsonrpc": "2.0", "id": request["id"]} | answer)


@dataclass
class Chain:
    """A devnet with one federation, whose governor has all roles, and the genesis model published."""

    url: str
    key: LocalAccount
    deployment: Deployment

    def connect(
        self, folder: Path | None = None, url: str = "", key: LocalAccount | None = None, **options: Any
    ) -> Any:
        return EthereumLedger.connect(
            url or self.url,
            self.deployment.federation.contract,
            key or self.key,
            folder=folder,
            **{"retry_policy": QUICK, "deployment_block": self.deployment.block} | options,
        )

    async def rpc(self, method: str, *params: object) -> Any:
        endpoint = Endpoint(self.url)
        try:
            return await endpoint.call(method, *params)
        finally:
            await endpoint.close()

    @staticmethod
    def update(samples: int) -> UpdateSubmitted:
        """Make an update that its samples tell from others."""
        return UpdateSubmitted(Version(0), samples, BLOB)

    @staticmethod
    async def samples(ledger: EthereumLedger) -> list[int]:
        """Return what tells the updates on a ledger apart."""
        return [one.payload.samples for one in await ledger.records() if isinstance(one.payload, UpdateSubmitted)]

    @asynccontextmanager
    async def mining_by_hand(self) -> AsyncIterator[None]:
        await self.rpc("evm_setAutomine", False)
        try:
            yield
        finally:
            await self.rpc("evm_setAutomine", True)
            await self.rpc("evm_mine")

    async def pending(self, count: int) -> None:
        """Return once so many transactions wait to be mined."""
        while int((await self.rpc("txpool_status"))["pending"], 16) < count:  # noqa: ASYNC110 - the chain has no events
            await asyncio.sleep(0.01)


@pytest.fixture(scope="session")
def devnet_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("devnet")
    anvil = find_anvil(None, folder)
    if anvil is None:
        pytest.fail("anvil is not here: run scripts/setup")
    yield asyncio.run(start(anvil, folder)).url
    asyncio.run(stop(folder))


@pytest.fixture
async def chain(devnet_url: str) -> Chain:
    key = Account.create()
    await fund(devnet_url, key.address)
    made = Chain(devnet_url, key, await deploy(devnet_url, key, retry_policy=QUICK))
    async with await made.connect() as ledger:
        await ledger.append(MemberSet(address(key.address), Role(15)))
        await ledger.append(ModelPublished(Version(0), Seq(0), Head(bytes(32)), BLOB, BLOB))
    return made


@pytest.fixture
async def proxy(devnet_url: str) -> AsyncIterator[Proxy]:
    one = Proxy(devnet_url)
    await one.start()
    yield one
    await one.stop()
