"""The audit of a simulated federation, and the oracle beside it."""

from __future__ import annotations

from collections.abc import Sequence

from oracle.compare import agree

from fedchain.audit.chain import Copy
from fedchain.audit.findings import Finding
from fedchain.audit.report import Report
from fedchain.audit.sources import Source
from fedchain.core.ports import Ledger
from fedchain.simulation.audit import audit as audit_alone
from fedchain.simulation.world import World


async def audit(
    world: World,
    *,
    sources: Sequence[Source] | None = None,
    ledger: Ledger | None = None,
    copy: Copy | None = None,
    has_oracle: bool = True,
) -> Report:
    """Judge a simulated federation; where nothing is found in it as it is, the oracle must find the same versions.

    It knows no strategy that only tests have.
    """
    report = await audit_alone(world, sources=sources, ledger=ledger, copy=copy)
    if has_oracle and report.exit_code == 0 and ledger is None and report.recomputed == report.versions - 1:
        assert len(agree(world.chain.federation, world.chain.records, world.blobs)) == report.versions
    return report


async def clean(world: World) -> Report:
    """Judge a simulated federation that has to be clean, every version recomputed."""
    report = await audit(world)
    assert report.verdict.startswith("CLEAN"), "; ".join(map(str, [*report.findings, *report.unchecked]))
    assert report.recomputed == report.versions - 1 == world.versions - 1
    return report


def sole(report: Report) -> Finding:
    """Return the finding of a report that has exactly one."""
    assert [str(finding) for finding in report.findings] == [str(report.findings[0])] if report.findings else False
    assert report.exit_code == 1
    return report.findings[0]
