"""The inspector: fetches updates and says what their contents are, until a buffer is decided."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from fedchain.core.errors import Unavailable
from fedchain.core.formats.layout import Layout
from fedchain.core.ledger.records import Record, Seq, UpdateSubmitted
from fedchain.core.ports import Offload, Store
from fedchain.core.rules.buffer import BufferState, OpenBuffer
from fedchain.core.rules.history import History
from fedchain.core.rules.judged import Inspection
from fedchain.core.rules.policy import Policy
from fedchain.core.updates.inspection import MALFORMED, UNAVAILABLE, inspect
from fedchain.core.updates.updatefile import update_sizes

Inspect = Callable[[Record, Policy], Awaitable[Inspection]]
"""Says what an update's content is under a policy."""


class Inspector:
    """Reads updates of one federation from a store."""

    def __init__(self, history: History, layout: Layout, store: Store, offload: Offload = asyncio.to_thread) -> None:
        self._history = history
        self._layout = layout
        self._store = store
        self._offload = offload

    async def inspect(self, record: Record, policy: Policy) -> Inspection:
        """Fetch a submitted update and say what it is.

        One of a size that no update has is MALFORMED without being fetched; one that no peer has is UNAVAILABLE.
        """
        update = record.payload
        assert isinstance(update, UpdateSubmitted)
        site, layout, base = record.actor, self._layout, self._history.published[update.base].claim.model
        if update.content.size not in update_sizes(layout, site, base, policy.encodings):
            return MALFORMED
        try:
            blob = await self._store.fetch(update.content)
        except Unavailable:
            return UNAVAILABLE
        return await self._offload(inspect, blob, layout, site, base, policy.encodings)


async def decide(
    buffer: OpenBuffer,
    inspect: Inspect,
    found: dict[Seq, Inspection],
    last: Seq,
    offload: Offload = asyncio.to_thread,
) -> BufferState:
    """Judge a buffer, inspecting what is not in `found` yet, until all updates up to record `last` are decided."""
    state = await offload(buffer.judge, found)
    while state.to_inspect:
        wanted = [record for record in state.to_inspect if record.seq <= last] or state.to_inspect[:1]
        for record in wanted:
            found[record.seq] = await inspect(record, state.policy)
        state = await offload(buffer.judge, found)
    return state
