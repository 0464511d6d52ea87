"""The aggregator has no state of its own: it may be lost, and it may be two."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from fedchain.cli.demo.stage import configure, free_url, new_actor, open_key
from fedchain.cli.ledger import open_ledger
from fedchain.core.ledger.records import MemberSet, ModelPublished, Record, Role
from fedchain.core.rules.policy import fedbuff

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


async def test_a_lost_aggregator_is_replaced_by_one_that_knows_contract_key_and_peers(
    found: Callable[..., Awaitable],
) -> None:
    federation = await found(fedbuff(size=2), 3)
    stage = federation.stage
    await federation.start(*stage.actors)
    await federation.until_version(3)
    await federation.running.kill(stage.aggregator)
    key = {name: (stage.aggregator.folder / name).read_bytes() for name in ("key.json", "password")}
    shutil.rmtree(stage.aggregator.folder)

    successor = replace(stage.aggregator, folder=stage.folder / "elsewhere", url=free_url())
    successor.folder.mkdir()
    for name, data in key.items():
        (successor.folder / name).write_bytes(data)
    configure(successor, stage.sites)
    before = versions(await federation.until_version(3))
    await federation.start(successor)
    await federation.until_version(before + 3)
    await federation.running.stop()

    code, output = await federation.audit([successor, *stage.sites])
    assert code == 0, output


async def test_a_second_aggregator_at_the_same_time_changes_no_byte(found: Callable[..., Awaitable]) -> None:
    federation = await found(fedbuff(size=2), 3)
    stage = federation.stage
    second = await new_actor(stage.folder / "second", "aggregator", stage.file.rpc)
    async with await open_ledger(stage.file, open_key(stage.folder / "governor")) as ledger:
        await ledger.append(MemberSet(second.member, Role.AGGREGATOR))
    configure(second, stage.actors)
    await federation.start(second, *stage.actors)
    published = await federation.until_version(6)
    await federation.running.stop()

    claims = [record.payload for record in published if isinstance(record.payload, ModelPublished)]
    files = [(second.blobs / one.model.cid, stage.aggregator.blobs / one.model.cid) for one in claims if one.version]
    made = [pair for pair in files if all(path.exists() for path in pair)]
    assert made, "one that comes late makes only what is not published yet, but not every time"
    assert all(ours.read_bytes() == theirs.read_bytes() for ours, theirs in made)
    code, output = await federation.audit([second, *stage.actors])
    assert code == 0, output


def versions(found: list[Record]) -> int:
    """Number of the newest version."""
    return max(record.payload.version for record in found if isinstance(record.payload, ModelPublished))
