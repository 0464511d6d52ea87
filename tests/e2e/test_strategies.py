"""A strategy and an encoding that were one file and one line each: real daemons run them, audit and oracle agree."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from fedchain.cli.demo.stage import open_key
from fedchain.cli.ledger import append
from fedchain.core.ledger.records import ModelPublished, PolicySet, UpdateSubmitted
from fedchain.core.rules.policy import preset
from fedchain.core.updates.encodings.int8 import Int8
from fedchain.core.updates.encodings.q24 import Q24

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


async def test_medians_of_bytes_follow_on_means_of_integers(found: Callable[..., Awaitable]) -> None:
    both = {"encodings": (Q24(), Int8())}
    means = preset("fedbuff", size=3).model_copy(update=both)
    federation = await found(means, 3)
    await federation.start(*federation.stage.actors)
    await federation.until_version(2)
    medians = preset("median", size=3).model_copy(update={"encodings": (Int8(), Q24())})
    governor = open_key(federation.stage.folder / "governor")
    (changed,) = await append(federation.stage.federation, governor, [PolicySet(medians.canonical())])
    before = [r.payload.version for r in await federation.records() if isinstance(r.payload, ModelPublished)]
    records = await federation.until_version(max(before) + 4)
    await federation.running.stop()

    sizes = {r.payload.content.size for r in records if isinstance(r.payload, UpdateSubmitted)}
    assert len(sizes) == 2, "some updates are 32-bit integers, later ones bytes"
    assert changed.seq < records[-1].seq
    code, output = await federation.audit(federation.stage.actors)
    assert code == 0, output
