"""Writing through every failure that an endpoint, a chain or a kill -9 can bring: each append has one effect."""

from __future__ import annotations

import asyncio
import itertools
import signal
import sys
from pathlib import Path

import pytest
from aiohttp import web
from eth_account import Account

from fedchain.core.errors import ConfigError, LedgerError, LedgerRefused
from fedchain.core.ledger.records import BufferClosed, MemberSet, Role, Seq, UpdateSubmitted, Version, address
from fedchain.devnet.anvil import fund
from fedchain.ledger.ethereum import deploy
from fedchain.ledger.outbox import Outbox
from fedchain.ledger.signer import RetryPolicy

APPEND = """
import asyncio, sys
from pathlib import Path
from eth_account import Account
from fedchain.core.ledger.content import Content, Digest
from fedchain.core.ledger.records import UpdateSubmitted, Version
from fedchain.ledger.ethereum import EthereumLedger
from fedchain.ledger.signer import RetryPolicy

async def main(url, contract, key, folder):
    signer, often = Account.from_key(key), RetryPolicy(poll=0.02)
    async with await EthereumLedger.connect(url, contract, signer, folder=Path(folder), retry_policy=often) as ledger:
        update = UpdateSubmitted(Version(0), 7, Content(Digest(bytes(32)), 1))
        print((await ledger.append(update, key="update")).seq)

asyncio.run(main(*sys.argv[1:]))
"""


async def appending_process(chain, url: str, folder: Path) -> asyncio.subprocess.Process:
    arguments = (url, chain.deployment.federation.contract, chain.key.key.hex(), str(folder))
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", APPEND, *arguments, stdout=asyncio.subprocess.PIPE
    )


KILLED_AT = {
    "estimating": ("eth_estimateGas", False),
    "stored, not sent": ("eth_sendRawTransaction", False),
    "sent, not answered": ("eth_sendRawTransaction", True),
    "on the chain, not seen": ("eth_getTransactionReceipt", True),
}


@pytest.mark.parametrize("stage", KILLED_AT)
async def test_a_process_killed_at_any_stage_appends_once(chain, proxy, tmp_path, stage):
    method, after = KILLED_AT[stage]
    killed = asyncio.Event()

    async def kill(_params, forward):
        answer = await forward() if after else {}
        process.send_signal(signal.SIGKILL)
        killed.set()
        await process.wait()
        return answer

    proxy.twists[method] = kill
    process = await appending_process(chain, proxy.url, tmp_path)
    assert await process.wait() == -signal.SIGKILL
    assert killed.is_set()
    proxy.twists.clear()

    again = await appending_process(chain, proxy.url, tmp_path)
    output, _ = await again.communicate()
    assert (again.returncode, output) == (0, b"3\n")
    async with await chain.connect() as ledger:
        assert await chain.samples(ledger) == [7]


async def test_what_a_killed_process_stored_goes_on_without_being_asked_for(chain, proxy, tmp_path):
    async def kill(_params, _forward):
        process.kill()
        await process.wait()
        return {}

    proxy.twists["eth_sendRawTransaction"] = kill
    process = await appending_process(chain, proxy.url, tmp_path)
    assert await process.wait() == -signal.SIGKILL
    async with await chain.connect(tmp_path) as ledger:
        await ledger.wait(Seq(3), timeout=5)
        assert await chain.samples(ledger) == [7]
        assert (await ledger.append(chain.update(8), key="update")).payload.samples == 7
        assert (await ledger.append(chain.update(8), key="other")).seq == 4


async def test_twenty_appends_at_once_under_slow_mining(chain):
    async with await chain.connect() as ledger:
        async with chain.mining_by_hand():
            appends = [asyncio.create_task(ledger.append(chain.update(n))) for n in range(1, 21)]
            await chain.pending(20)
        records = await asyncio.gather(*appends)
        assert sorted(record.payload.samples for record in records) == list(range(1, 21))
        assert sorted(record.seq for record in records) == list(range(3, 23))
        assert len({record.place.block for record in records}) == 1


async def test_one_key_at_the_same_time_has_one_effect(chain):
    async with await chain.connect() as ledger:
        records = await asyncio.gather(*(ledger.append(chain.update(n), key="k") for n in range(1, 6)))
        assert len(set(records)) == 1
        assert len(await chain.samples(ledger)) == 1


async def test_a_refusal_costs_nothing(chain, proxy):
    async with await chain.connect(url=proxy.url) as ledger:
        with pytest.raises(LedgerRefused) as caught:
            await ledger.append(UpdateSubmitted(Version(5), 1, chain.update(1).content))
        assert (caught.value.name, caught.value.operands) == ("UnknownBase", (5, 1))
        assert proxy.counts["eth_sendRawTransaction"] == 0


async def test_a_transaction_that_is_mined_but_reverted_is_refused(chain):
    other = Account.create()
    await fund(chain.url, other.address)
    async with await chain.connect() as ledger, await chain.connect(key=other) as rival:
        await ledger.append(MemberSet(address(other.address), Role.GOVERNOR))
        # Each of two governors takes the role from the other: whoever comes second is none any more.
        async with chain.mining_by_hand():
            appends = [
                asyncio.create_task(one.append(MemberSet(address(away), Role.AUDITOR), key="v1"))
                for one, away in ((ledger, other.address), (rival, chain.key.address))
            ]
            await chain.pending(2)
        results = await asyncio.gather(*appends, return_exceptions=True)
        (refused,) = (one for one in results if isinstance(one, LedgerRefused))
        loser = (ledger, rival)[results.index(refused)]
        actor = address((chain.key, other)[results.index(refused)].address)
        assert (refused.name, refused.operands) == ("Unauthorized", (actor, 1))
        assert (await loser.append(BufferClosed(), key="v1")).payload == BufferClosed()


async def test_a_closed_connection_after_sending_is_no_second_record(chain, proxy):
    async def cut(_params, forward):
        await forward()
        raise web.HTTPBadGateway

    proxy.twists["eth_sendRawTransaction"] = cut
    async with await chain.connect(url=proxy.url) as ledger:
        for n in (1, 2):
            await ledger.append(chain.update(n))
        assert await chain.samples(ledger) == [1, 2]


@pytest.mark.parametrize("words", ["already known", "nonce too low", "replacement transaction underpriced"])
async def test_an_error_that_hides_success_is_looked_through(chain, proxy, words):
    async def complain(_params, forward):
        await forward()
        return {"error": {"code": -32000, "message": words}}

    proxy.twists["eth_sendRawTransaction"] = complain
    async with await chain.connect(url=proxy.url) as ledger:
        await asyncio.gather(*(ledger.append(chain.update(n)) for n in (1, 2, 3)))
        assert sorted(await chain.samples(ledger)) == [1, 2, 3]


async def test_two_processes_with_one_key_both_get_through(chain, tmp_path):
    async with await chain.connect(tmp_path / "a") as one, await chain.connect(tmp_path / "b") as two:
        for n in range(1, 5):
            await asyncio.gather(one.append(chain.update(n)), two.append(chain.update(10 + n)))
        assert sorted(await chain.samples(one)) == [1, 2, 3, 4, 11, 12, 13, 14]


async def test_a_transaction_that_nodes_drop_is_sent_again(chain):
    async with await chain.connect() as ledger:
        async with chain.mining_by_hand():
            append = asyncio.create_task(ledger.append(chain.update(1)))
            await chain.pending(1)
            await chain.rpc("anvil_dropAllTransactions")
            await chain.pending(1)
        assert (await append).seq == 3


async def test_a_transaction_that_waits_too_long_is_offered_for_more(chain, tmp_path):
    retry_policy = RetryPolicy(poll=0.02, resend=60, replace=0.2)
    async with await chain.connect(tmp_path, retry_policy=retry_policy) as ledger:
        async with chain.mining_by_hand():
            append = asyncio.create_task(ledger.append(chain.update(1), key="k"))
            await chain.pending(1)
            outbox = ledger._actor._outbox
            while len(outbox.attempts("k")) < 3:  # noqa: ASYNC110 - waits for what time brings
                await asyncio.sleep(0.02)
        record = await append
        attempts = outbox.attempts("k")
        assert len({attempt.nonce for attempt in attempts}) == 1
        for before, after in itertools.pairwise(attempts):
            assert after.fees.tip * 8 >= before.fees.tip * 9
            assert after.fees.cap * 8 >= before.fees.cap * 9
        assert record.place.transaction in {attempt.hash for attempt in attempts[1:]}
        assert await chain.samples(ledger) == [1]


async def test_records_that_a_reorganisation_took_are_brought_back(chain, tmp_path):
    async with await chain.connect(tmp_path) as ledger:
        snapshot = await chain.rpc("evm_snapshot")
        for n in (1, 2):
            await ledger.append(chain.update(n), key=f"update {n}")
        await chain.rpc("evm_revert", snapshot)
        assert await chain.samples(ledger) == []
        await ledger.append(chain.update(3))
        assert await chain.samples(ledger) == [1, 2, 3]
        assert (await ledger.append(chain.update(1), key="update 1")).seq == 3


async def test_an_append_waits_until_the_endpoint_is_back(chain, proxy):
    async with await chain.connect(url=proxy.url) as ledger:
        await proxy.stop()
        append = asyncio.create_task(ledger.append(chain.update(1)))
        cancelled = asyncio.create_task(ledger.append(chain.update(2)))
        await asyncio.sleep(0.2)
        assert not append.done()
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        await proxy.start()
        assert (await asyncio.wait_for(append, 5)).seq == 3
        assert await chain.samples(ledger) == [1]


async def test_an_endpoint_that_goes_away_after_sending_is_waited_for(chain, proxy):
    async def vanish(_params, forward):
        answer = await forward()
        asyncio.get_running_loop().call_soon(gone.set)
        return answer

    gone = asyncio.Event()
    proxy.twists["eth_sendRawTransaction"] = vanish
    async with await chain.connect(url=proxy.url) as ledger:
        append = asyncio.create_task(ledger.append(chain.update(1)))
        await gone.wait()
        await proxy.stop()
        await asyncio.sleep(0.2)
        await proxy.start()
        assert (await asyncio.wait_for(append, 5)).seq == 3


async def test_a_key_without_money_is_told_so_and_its_nonce_stays_free(chain):
    poor = Account.create()
    async with await chain.connect() as governor:
        await governor.append(MemberSet(address(poor.address), Role.TRAINER))
    async with await chain.connect(key=poor) as ledger:
        for _ in range(2):
            with pytest.raises(LedgerError, match=rf"(?i){poor.address} cannot append: .*funds"):
                await ledger.append(chain.update(1))
        await fund(chain.url, poor.address)
        assert (await ledger.append(chain.update(2))).payload.samples == 2
        assert await chain.samples(ledger) == [2]


async def test_an_outbox_belongs_to_one_process_and_one_key(chain, tmp_path):
    async with await chain.connect(tmp_path):
        with pytest.raises(ConfigError, match="another process sends"):
            await chain.connect(tmp_path)
    async with await chain.connect(tmp_path) as ledger:
        assert (await ledger.append(BufferClosed())).seq == 3
    (file,) = tmp_path.glob("outbox-*.sqlite")
    with pytest.raises(ConfigError, match=r"not .* on 1$"):
        Outbox(file, 1, address(chain.key.address))


async def test_a_successor_names_its_predecessor(chain):
    async with await chain.connect() as ledger:
        last = await ledger.head()
    predecessor = chain.deployment.federation.contract
    made = await deploy(chain.url, chain.key, predecessor, last)
    assert (made.federation.predecessor, made.federation.predecessor_head) == (predecessor, last)
    chain.deployment = made
    async with await chain.connect() as successor:
        assert successor.federation == made.federation
        assert [record.actor for record in await successor.records()] == [address(chain.key.address)]


async def test_a_deployment_that_nobody_can_pay_is_refused(chain):
    with pytest.raises(LedgerError, match=r"(?i)funds"):
        await deploy(chain.url, Account.create())
