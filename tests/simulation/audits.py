"""The audit of a simulated federation."""

from __future__ import annotations

from collections.abc import Sequence

from oracle.compare import agree
from simulation.federation import Simulation

from fedchain.audit.chain import Copy
from fedchain.audit.findings import Finding
from fedchain.audit.report import Report
from fedchain.audit.sources import LocalSource, Source
from fedchain.audit.verify import verify
from fedchain.core.ports import Ledger
from fedchain.store.alone import LoneStore
from fedchain.store.memory import MemoryBlobs


async def audit(
    simulation: Simulation,
    *,
    sources: Sequence[Source] | None = None,
    ledger: Ledger | None = None,
    copy: Copy | None = None,
    has_oracle: bool = True,
) -> Report:
    """Judge a simulated federation by its chain and, unless other sources are given, its heap of blobs.

    Where it finds nothing in the federation as it is, the oracle must find the same versions; it knows no strategy that
    only tests have.
    """
    report = await verify(
        simulation.chain.federation,
        sources=[LocalSource("heap", simulation.blobs)] if sources is None else sources,
        fallback=LoneStore(MemoryBlobs()),
        copy=copy,
        ledger=ledger or simulation.ledger,
    )
    if has_oracle and report.exit_code == 0 and ledger is None and report.recomputed == report.versions - 1:
        versions = agree(simulation.chain.federation, simulation.chain.records, simulation.blobs)
        assert len(versions) == report.versions
    return report


def sole(report: Report) -> Finding:
    """Return the finding of a report that has exactly one."""
    assert [str(finding) for finding in report.findings] == [str(report.findings[0])] if report.findings else False
    assert report.exit_code == 1
    return report.findings[0]
