"""Reads a ledger from an endpoint that is not trusted, and keeps the mirror up to date.

What is taken over has been checked: the records up to block B must hash to what the contract's head() is at
block B, called by the block's hash. So events left out, altered or reordered do not get in.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from fedchain.core.errors import FormatError, HeadMismatch, LedgerUnreachable, Reorganised
from fedchain.core.ledger.records import Head, Record, Seq, first_head, next_head
from fedchain.ledger.chainview import ChainView
from fedchain.ledger.endpoint import Endpoint, RpcError
from fedchain.ledger.finality import Confirmations
from fedchain.ledger.logs import read_logs
from fedchain.ledger.mirror import NOWHERE, BlockRef, Mirror, MirrorRow, row_of

if TYPE_CHECKING:
    from fedchain.ledger.newheads import NewHeads

log = logging.getLogger(__name__)

_PAUSES_S: Final = (0.0, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16)
"""Before head() is asked again: anvil answers with the next block's state while it makes that block."""


class Reader:
    """Reads one contract's records behind `confirmations`.

    Where it waits it looks with every new block, or every `poll` seconds without a subscription.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        mirror: Mirror,
        confirmations: Confirmations,
        poll: float,
        new_heads: NewHeads | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._mirror = mirror
        self._poll = poll
        self._new_heads = new_heads
        self.federation = mirror.origin.federation
        """What head_0 binds."""
        self._view = ChainView(endpoint, self.federation.contract, confirmations)
        self._lock = asyncio.Lock()
        self._checked = False
        """Whether the mirror's last head was held against the contract's since it was opened."""

    async def records(self, start: Seq, after: Head | None) -> Sequence[Record]:
        """Return all final records from seq `start` on; raises LedgerUnreachable, HeadMismatch, Reorganised."""
        await self.advance()
        try:
            return self._after(start, after)
        except HeadMismatch as damage:
            log.warning("%s; reading everything again", damage)
            async with self._lock:
                with self._reading():
                    await self._extend(anew=True)
            return self._after(start, after)

    def _after(self, start: Seq, after: Head | None) -> list[Record]:
        if after is not None and (self._mirror.count < start or self._mirror.head(start) != after):
            raise Reorganised(f"the chain was reorganised before record {start}: all records are read again")
        return self._mirror.records(start)

    async def head(self) -> Head:
        """Return the contract's head at the latest final block; head_0 while the contract is not in a final block."""
        with self._reading():
            return await self._view.head(await self._view.settled_block()) or first_head(self.federation)

    async def wait(self, start: Seq, timeout: float) -> None:
        """Return once the record `start` is final, or after `timeout` seconds; a silent endpoint may come back."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while True:
                    seen = self._new_heads.seen if self._new_heads else 0
                    with suppress(LedgerUnreachable):
                        await self.advance()
                    if self._mirror.count > start:
                        return
                    if self._new_heads:
                        await self._new_heads.wait(seen, self._poll)
                    else:
                        await asyncio.sleep(self._poll)

    async def find(self, transaction: str) -> list[Record]:
        """Return the records of a transaction that is on the chain, final or not; raises as `records`."""
        await self.advance()
        rows = self._mirror.of(transaction)
        if not rows and self._view.confirmations != 0:
            with self._reading():
                latest = await self._view.block("latest")
                unsettled = await self._read(self._mirror.last_block, self._mirror.count, latest)
            rows = [row for row in unsettled if row.place.transaction == transaction]
        return [row.record() for row in rows]

    async def advance(self) -> None:
        """Bring the mirror up to the latest final block.

        Where heads disagree it may be the mirror that is wrong, or the chain was reorganised between two requests:
        then everything is read again from the first block. Raises LedgerUnreachable, HeadMismatch.
        """
        async with self._lock:
            with self._reading():
                await self._catch_up()

    async def _catch_up(self) -> None:
        try:
            await self._extend()
        except HeadMismatch as mismatch:
            log.warning("%s; reading everything again", mismatch)
            await self._extend(anew=True)

    async def _extend(self, anew: bool = False) -> None:
        target = await self._view.settled_block()
        if anew:
            base, count = NOWHERE, 0
        elif target == self._mirror.last_block and self._checked:
            return
        else:
            base, count = await self._common()
        if base.number < target.number or (base == target and not self._checked):
            self._mirror.replace(count, await self._read(base, count, target), target)
            self._checked = True
        elif base != self._mirror.last_block:
            self._mirror.replace(count, (), base)

    async def _common(self) -> tuple[BlockRef, int]:
        """Return the newest block of the mirror that is on the chain, and how many records there are up to it."""
        through = self._mirror.last_block
        if not through.hash:
            return through, 0
        count = self._mirror.count
        for block, so_many in [(through, count), *self._mirror.blocks()]:
            if await self._view.block(hex(block.number)) == block:
                return block, so_many
            log.warning("block %s (%s) is gone: the chain was reorganised", block.number, block.hash)
        return NOWHERE, 0

    async def _read(self, base: BlockRef, count: int, target: BlockRef) -> list[MirrorRow]:
        """Read the records after block `base` up to block `target`, and check them against the contract's head."""
        head = self._mirror.head(count)
        try:
            logs, wanted = await asyncio.gather(
                read_logs(self._endpoint, self.federation.contract, base.number + 1, target.number),
                self._view.head(target),
            )
        except FormatError as error:
            raise HeadMismatch(f"{self._endpoint.name}: {error}") from error
        rows = []
        for seq, event in enumerate(logs, count):
            record = Record(Seq(seq), event.actor, event.time, event.payload, event.place)
            head = next_head(head, record)
            rows.append(row_of(record, event.place, head))
        found = head if count or rows else None
        pauses = iter(_PAUSES_S)
        while found != wanted:
            pause = next(pauses, None)
            if pause is None:
                raise HeadMismatch(
                    f"{self._endpoint.name} gives {count + len(rows)} records up to block {target.number} that hash to "
                    f"{_text(found)}, but head() is {_text(wanted)} there: it leaves out or alters events, or lies "
                    "about the head; compare with another endpoint"
                )
            await asyncio.sleep(pause)
            wanted = await self._view.head(target)
        return rows

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Turn errors of an endpoint that answers, but not to the question, into what the port promises."""
        try:
            yield
        except RpcError as error:
            raise LedgerUnreachable(f"{self._endpoint.name} cannot be read: {error.message}") from error


def _text(head: Head | None) -> str:
    return head.hex() if head else "nothing"
