"""Chains that others wrote, each started for tests and stopped again: anvil, hardhat, geth, and a clique network.

anvil and hardhat come with scripts/setup. geth is found by $FEDCHAIN_GETH or on PATH, and the network of three
`geth-clique` nodes is started by the script that $FEDCHAIN_CLIQUE names; elsewhere their tests are skipped.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest
from eth_account import Account

from fedchain.devnet import anvil
from fedchain.ledger.endpoint import Endpoint

CONTRACTS = Path(__file__).parents[2] / "contracts"
HARDHAT = CONTRACTS / "node_modules" / "hardhat" / "dist" / "src" / "cli.js"
HARDHAT_NODE = (22, 13)
START_S = 60.0
CLIQUE_STARTS = 4
RICH = Account.from_key("0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
"""The first of anvil's well-known accounts: the clique network gives it money."""

Fund = Callable[[Endpoint, Sequence[str]], Awaitable[None]]


@dataclass(frozen=True)
class Chain:
    """A running chain, and what tests need to know of it."""

    url: str
    fund: Fund
    ws: str | None = None
    moves_time: bool = False
    """Whether `evm_increaseTime` is there."""

    async def give(self, *addresses: str) -> None:
        """Give addresses money, and return once they have it."""
        endpoint = Endpoint(self.url)
        try:
            await self.fund(endpoint, addresses)
            for one in addresses:
                while await endpoint.call("eth_getBalance", one, "latest") == "0x0":  # noqa: ASYNC110 - no event tells
                    await asyncio.sleep(0.02)
        finally:
            await endpoint.close()


async def _set_balance(endpoint: Endpoint, addresses: Sequence[str]) -> None:
    for one in addresses:
        await endpoint.call("hardhat_setBalance", one, hex(10**21))


async def _from_developer(endpoint: Endpoint, addresses: Sequence[str]) -> None:
    """Let `geth --dev` send from the account that it keeps unlocked; its own numbering fails just after a block."""
    (developer,) = await endpoint.call("eth_accounts")
    nonce = int(await endpoint.call("eth_getTransactionCount", developer, "latest"), 16)
    for n, one in enumerate(addresses, nonce):
        call = {"from": developer, "to": one, "value": hex(10**21), "nonce": hex(n)}
        await endpoint.call("eth_sendTransaction", call)


async def _from_rich(endpoint: Endpoint, addresses: Sequence[str]) -> None:
    chain_id = int(await endpoint.call("eth_chainId"), 16)
    nonce = int(await endpoint.call("eth_getTransactionCount", RICH.address, "pending"), 16)
    fees = {"maxFeePerGas": 10**11, "maxPriorityFeePerGas": 10**9}
    for n, one in enumerate(addresses, nonce):
        call = {"type": 2, "chainId": chain_id, "nonce": n, "to": one, "value": 10**18, "gas": 21000, **fees}
        await endpoint.call("eth_sendRawTransaction", "0x" + RICH.sign_transaction(call).raw_transaction.hex())


@contextmanager
def run_anvil(folder: Path) -> Iterator[Chain]:
    program = anvil.find_anvil(None, folder)
    if program is None:
        pytest.fail("anvil is not here: run scripts/setup")
    url = asyncio.run(anvil.start(program, folder)).url
    try:
        yield Chain(url, _set_balance, url.replace("http", "ws"), moves_time=True)
    finally:
        asyncio.run(anvil.stop(folder))


@contextmanager
def run_hardhat(folder: Path) -> Iterator[Chain]:
    node = shutil.which("node")
    if node is None or not HARDHAT.exists() or _node_version(node) < HARDHAT_NODE:
        pytest.skip(f"hardhat is not here, or no Node.js {HARDHAT_NODE[0]}.{HARDHAT_NODE[1]}: run scripts/setup")
    shutil.copy(Path(__file__).with_name("hardhat.config.mjs"), folder)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "node_modules").symlink_to(CONTRACTS / "node_modules")  # hardhat runs only where it is installed
    port = _free_ports(1)[0]
    command = [node, str(folder / "node_modules/hardhat/dist/src/cli.js"), "--config", "hardhat.config.mjs"]
    url = f"http://127.0.0.1:{port}"
    with _process([*command, "node", "--hostname", "127.0.0.1", "--port", str(port)], folder, url):
        yield Chain(url, _set_balance, url.replace("http", "ws"), moves_time=True)


@contextmanager
def run_geth(folder: Path) -> Iterator[Chain]:
    program = os.environ.get("FEDCHAIN_GETH") or shutil.which("geth")
    if program is None:
        pytest.skip("geth is not here: put it on PATH, or name it in FEDCHAIN_GETH")
    http, ws, engine = _free_ports(3)
    command = [program, "--dev", "--dev.period", "0", "--port", "0", "--nodiscover", "--ipcdisable"]
    command += ["--authrpc.port", str(engine), "--http", "--http.port", str(http), "--ws", "--ws.port", str(ws)]
    url = f"http://127.0.0.1:{http}"
    with _process(command, folder, url):
        yield Chain(url, _from_developer, f"ws://127.0.0.1:{ws}")


@contextmanager
def run_clique(folder: Path) -> Iterator[Chain]:
    """Run three signers that make a block a second in turn; tests talk to the first one."""
    script = os.environ.get("FEDCHAIN_CLIQUE")
    if script is None:
        pytest.skip("no clique network here: name the script that starts one in FEDCHAIN_CLIQUE")
    for attempt in range(CLIQUE_STARTS):
        place = str(folder / f"network{attempt}")
        started = subprocess.run([sys.executable, script, "up", place], check=True, capture_output=True, text=True)
        try:
            network = json.loads(started.stdout)
            if _grows(network["endpoints"][0]):
                yield Chain(network["endpoints"][0], _from_rich, network["websockets"][0])
                return
        finally:
            subprocess.run([sys.executable, script, "down", place], check=True)
    pytest.fail(f"{CLIQUE_STARTS} clique networks in a row made no blocks: see the nodes' logs in {folder}")


def _grows(url: str) -> bool:
    """Tell whether a chain gets beyond its first blocks.

    Signers that each seal block 1 before they know of each other may then wait for one another for ever ("signed
    recently, must wait for others"): such a network is no chain, and another one is started.
    """
    until = monotonic() + START_S / 3
    while monotonic() < until:
        if int(_ask(url, "eth_blockNumber"), 16) > 3:
            return True
        sleep(0.5)  # nothing tells of a block that does not come
    return False


RUN = {"anvil": run_anvil, "hardhat": run_hardhat, "geth": run_geth, "clique": run_clique}


@contextmanager
def _process(command: list[str], folder: Path, url: str) -> Iterator[None]:
    """Run a program as long as the context lasts, once it answers; its log lies in the folder."""
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as process,
    ):
        try:
            _wait_until_answering(process, url, folder / "log")
            yield
        finally:
            process.terminate()


def _wait_until_answering(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = monotonic() + START_S
    while process.poll() is None and monotonic() < until:
        with suppress(URLError, ConnectionError):
            _ask(url, "eth_chainId")
            return
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
    pytest.fail(f"{process.args[0]} does not answer at {url}: {log.read_text()[-800:]}")


def _ask(url: str, method: str) -> str:
    question = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": []}).encode()
    with urlopen(Request(url, question, {"Content-Type": "application/json"}), timeout=5) as answer:
        result: str = json.load(answer)["result"]
        return result


def _node_version(node: str) -> tuple[int, ...]:
    said = subprocess.run([node, "--version"], check=True, capture_output=True, text=True).stdout
    return tuple(int(part) for part in said.strip().removeprefix("v").split("."))


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
