"""The library: a federation's records, policy and models read from Python, and the audit as a call.

    async with fedchain.connect("federation.toml", peers=["http://hospital-1.example:8701"]) as federation:
        model = await federation.version(3)

    report = await fedchain.verify("federation.toml", blobs=["aggregator/state/blobs"])

docs/python.md has whole programs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from os import PathLike
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from fedchain.audit.evidence import Where, open_evidence, verify_evidence
from fedchain.audit.findings import Findings
from fedchain.audit.progress import Progress, quiet
from fedchain.audit.report import Report
from fedchain.core.errors import ParameterError, VersionRefuted
from fedchain.core.formats.modelfile import read_model
from fedchain.core.ledger.records import Record, Seq
from fedchain.core.ports import Ledger, Store
from fedchain.core.rules.policy import Policy
from fedchain.replica.follower import Follower

AnyPath = str | PathLike[str]


class Connection:
    """One federation, read. Nothing that an endpoint or a peer says is taken over unchecked."""

    def __init__(self, ledger: Ledger, store: Store) -> None:
        self._follower = Follower(ledger, store)
        self._lock = asyncio.Lock()

    async def records(self) -> Sequence[Record]:
        """Return all records in order; they hash to the contract's head.

        Raises LedgerUnreachable, HeadMismatch where the endpoint leaves records out or alters them.
        """
        return await self._follower.ledger.records()

    async def policy(self) -> Policy:
        """Return the policy in force; raises FedchainError before there is one."""
        history = (await self._advanced()).history
        return history.policy(Seq(history.length))[-1]

    async def newest(self) -> int | None:
        """Return the newest version's number, None before genesis."""
        latest = (await self._advanced()).history.latest
        return None if latest is None else latest.version

    async def version(self, number: int) -> dict[str, NDArray[Any]]:
        """Return a version's model: its arrays by name, with the dtypes and shapes of the layout.

        Checked is that the bytes are those which the ledger names, and that the manifests up to this version follow
        from the records. That the arithmetic was done right only `verify` shows.

        Raises ParameterError where there is no such version, VersionRefuted where it, or one before it, does not follow
        from the ledger, Unavailable where neither `blobs` nor `peers` have it, LedgerError, FormatError.
        """
        follower = await self._advanced()
        published = follower.history.published
        if not 0 <= number < len(published):
            newest = f"the newest is {published[-1].version}" if published else "not even genesis is published yet"
            raise ParameterError("number", number, f"there is no such version, {newest}")
        for fault in follower.faults:
            if fault.version.version <= number:
                raise VersionRefuted(fault.version.version, tuple(map(str, fault.discrepancies)))
        layout = await follower.layout()
        model = await follower.store.fetch(published[number].claim.model)
        return await asyncio.to_thread(read_model, layout, model)

    async def _advanced(self) -> Follower:
        async with self._lock:
            await self._follower.advance()
        return self._follower


@asynccontextmanager
async def connect(
    federation: AnyPath | None = None,
    *,
    rpc: str | None = None,
    contract: str | None = None,
    blobs: Sequence[AnyPath] = (),
    peers: Sequence[str] = (),
) -> AsyncIterator[Connection]:
    """Connect to a federation to read it.

    `federation` is the file that `fedchain deploy` wrote; `rpc` and `contract` stand in for what it says. Blobs are
    read from daemons' folders (`blobs`, which are not written to) and gateways (`peers`, as http://host:port).

    Raises ParameterError, ConfigError, LedgerUnreachable, LedgerError where there is no such contract.
    """
    async with open_evidence(
        _where(federation=federation, rpc=rpc, contract=contract, blobs=blobs, peers=peers)
    ) as evidence:
        assert evidence.ledger is not None
        yield Connection(evidence.ledger, evidence.contents(Findings()))


async def verify(
    federation: AnyPath | None = None,
    *,
    rpc: str | None = None,
    contract: str | None = None,
    mirror: AnyPath | None = None,
    blobs: Sequence[AnyPath] = (),
    peers: Sequence[str] = (),
    head: str | None = None,
    offline: bool = False,
    threads: int = 1,
    progress: Progress = quiet,
) -> Report:
    """Check records, contents and manifests and recompute every version, as `fedchain audit verify` does.

    Arguments are as for `connect`. `mirror` is a daemon's ledger.sqlite; with `offline` it is all that is read of the
    records, and `head`, 0x and 64 hexadecimal digits from a source that is trusted, proves it.

    What is wrong stands in the report and is not raised. Raises ParameterError, ConfigError, FormatError,
    LedgerUnreachable, LedgerError where the evidence cannot be opened at all.
    """
    where = _where(
        federation=federation,
        rpc=rpc,
        contract=contract,
        mirror=mirror,
        blobs=blobs,
        peers=peers,
        head=head,
        offline=offline,
    )
    return await verify_evidence(where, progress=progress, threads=threads)


def _where(
    *,
    federation: AnyPath | None,
    rpc: str | None,
    contract: str | None,
    blobs: Sequence[AnyPath],
    peers: Sequence[str],
    mirror: AnyPath | None = None,
    head: str | None = None,
    offline: bool = False,
) -> Where:
    """Read the arguments; raises ParameterError for one string where several are expected."""
    for name, several in (("blobs", blobs), ("peers", peers)):
        if isinstance(several, str | PathLike):
            raise ParameterError(name, several, "expected a list, as in [one]")
    return Where(
        federation=None if federation is None else Path(federation),
        rpc=rpc,
        contract=contract,
        mirror=None if mirror is None else Path(mirror),
        blobs=tuple(map(Path, blobs)),
        peers=tuple(peers),
        head=head,
        offline=offline,
    )
