"""The ports: what replicas and daemons ask of the world.

Adapters live in ledger, store, crypto, training, system and node.
Clock, training, journal and off-loading are ports so that tests and a simulation can give their own: time that is
counted instead of passing, training without torch, work that is done at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ParamSpec, Protocol, TypeVar

from numpy.typing import NDArray

from fedchain.core.ledger.content import Content
from fedchain.core.ledger.records import (
    Address,
    Federation,
    Head,
    Payload,
    Record,
    Seq,
    SignedUpdate,
    UpdateSubmitted,
    Version,
)

_Args = ParamSpec("_Args")
_Result = TypeVar("_Result")


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
        """Return all final records from seq `start` on, in order; raises LedgerUnreachable, HeadMismatch.

        The records agree with the ledger's head at the block up to which they were read. `after` is the head that
        the caller's records before `start` hash to; raises Reorganised when the ledger's hash to another one.
        """

    async def head(self) -> Head:
        """Return the ledger's own head, at the latest final block."""

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


class Clock(Protocol):
    """What time it is, and waiting for a later one."""

    def now(self) -> float:
        """Return seconds since 1970, to compare with block times."""

    def monotonic(self) -> float:
        """Return seconds since an arbitrary moment, to measure how long something takes; never runs backwards."""

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds of this clock; at once where they are none or fewer."""


class Offload(Protocol):
    """Long work - hashing, reading, merging - away from the event loop. `asyncio.to_thread` is one."""

    async def __call__(
        self, function: Callable[_Args, _Result], /, *args: _Args.args, **kwargs: _Args.kwargs
    ) -> _Result:
        """Call a function and return what it returns, or raise what it raises."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What one training made."""

    arrays: dict[str, NDArray[Any]]
    """The model's tensors after it."""
    samples: int
    """Examples trained on, at least 1."""
    metrics: Mapping[str, float]
    seconds: float
    """That it took, on a monotonic clock."""


class Training(Protocol):
    """A site's task with its data and its machine."""

    @property
    def device(self) -> str:
        """Where models are trained, for people: cpu, cuda:0."""

    async def train(self, arrays: Mapping[str, NDArray[Any]], seed: int, steps: int | None = None) -> Trained:
        """Train a copy of a model; raises TaskError. Cancelling it stops the training."""

    async def evaluate(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        """Measure a model on data that the site holds back; raises TaskError."""

    def close(self) -> None:
        """End; nothing is trained any more."""


class Step(StrEnum):
    """How far an update came: training, stored, then included or refused."""

    TRAINING = "training"
    STORED = "stored"
    INCLUDED = "included"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One update of a site, as its journal has it."""

    number: int
    """Counts the site's trainings from 1; the seed follows from it."""
    step: Step
    base: Version
    samples: int
    content: Content
    seq: Seq | None

    @property
    def update(self) -> UpdateSubmitted:
        """The record's payload."""
        return UpdateSubmitted(self.base, self.samples, self.content)


class Journal(Protocol):
    """What a node has begun and how far it came. What a call notes is durable when it returns; raises DatabaseError."""

    def begin(self, base: Version) -> JournalEntry:
        """Begin a training on a base, or take up the one that was cut off, with its number."""

    def stored(self, entry: JournalEntry, samples: int, content: Content) -> None:
        """Note that the update is in the store: from here on it will be submitted."""

    def included(self, entry: JournalEntry, seq: Seq) -> None:
        """Note that the update is in the ledger."""

    def refused(self, entry: JournalEntry, reason: str) -> None:
        """Note that the ledger's rules refuse the update."""

    def waiting(self) -> list[JournalEntry]:
        """List the stored updates that are not in the ledger yet, oldest first."""

    def included_since(self, seq: int) -> list[JournalEntry]:
        """List the updates that are in the ledger at `seq` or later."""

    def counts(self) -> dict[str, int]:
        """Count the updates at each step."""

    def close(self) -> None:
        """Write what is to be written, and end."""
