"""The ports: what core asks of a ledger, of a store and of a key. Adapters live in ledger, store, crypto."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from fedchain.core.ledger.content import Content
from fedchain.core.ledger.records import Address, Federation, Head, Payload, Record, Seq, SignedUpdate


class BlobReader(Protocol):
    """A blob's bytes, read where they lie."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    def read_into(self, offset: int, out: memoryview) -> None:
        """Fill `out` from `offset` on; raises Corrupt when the bytes end early. Safe from several threads."""

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on; raises Corrupt when the bytes end early."""


class BlobWriter(Protocol):
    """A blob being written: nothing is visible under its CID before `commit`."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes."""

    def commit(self) -> Content:
        """Make the blob durable and visible, and return its name."""

    def abort(self) -> None:
        """Throw away what was written; harmless after `commit`."""


class Blobs(Protocol):
    """Blobs on this machine. Every call is synchronous and may block: not for the event loop."""

    def has(self, content: Content) -> bool:
        """Tell whether the blob is here, whole."""

    def open(self, content: Content) -> BlobReader:
        """Open a blob; raises Unavailable when it is not here."""

    def create(self) -> BlobWriter:
        """Start a new blob."""

    def check(self, content: Content) -> None:
        """Re-hash every byte of a blob; raises Corrupt naming the first wrong block, Unavailable."""


class Store(Protocol):
    """Blobs wherever they are: local ones, and those of peers."""

    @property
    def local(self) -> Blobs:
        """Where fetched blobs end up and new ones are written."""

    async def fetch(self, content: Content) -> BlobReader:
        """Bring a blob here, verified, and open it; raises Unavailable when no peer has it."""


class Signer(Protocol):
    """A key that signs. Structurally an eth_account LocalAccount."""

    @property
    def address(self) -> str:
        """The key's address, in any letter case."""

    def sign_transaction(self, transaction_dict: dict[str, Any]) -> Any:
        """Sign a transaction; the result has `raw_transaction` and `hash`."""


class Ledger(Protocol):
    """The audit trail of one federation, as one address sees it."""

    @property
    def federation(self) -> Federation:
        """What head_0 binds."""

    async def records(self, start: Seq = Seq(0), after: Head | None = None) -> Sequence[Record]:
        """Return all settled records from seq `start` on, in order; raises LedgerUnreachable, HeadMismatch.

        The records agree with the ledger's head at the block up to which they were read. `after` is the head that
        the caller's records before `start` hash to; raises Reorganised when the ledger's hash to another one.
        """

    async def head(self) -> Head:
        """Return the ledger's own head, at the latest settled block."""

    async def wait(self, start: Seq, timeout: float) -> None:
        """Return once a record with seq `start` exists, or after `timeout` seconds."""

    async def append(self, payload: Payload, key: str | None = None) -> Record:
        """Append a record as this ledger's signer and return it once it is included.

        `key` names the intent: an append repeated under one key, before or after a crash, has one effect.
        Raises LedgerRefused with the contract's custom error, LedgerUnreachable.
        """

    async def relay(self, updates: Sequence[SignedUpdate]) -> Sequence[Record]:
        """Append updates that other members signed (submitUpdates) and return the records that were made.

        An update whose site is not a trainer now, whose nonce is not the site's next, or whose deadline has passed is
        left out. Raises as `append`: for a wrong signature or value, and where no record is made.
        """

    async def nonce(self, member: Address) -> int:
        """Return the nonce that the member's next relayed update must carry."""
