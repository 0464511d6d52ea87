from __future__ import annotations

from pathlib import Path

import pytest
from simulation.federation import Simulation
from simulation.mirrors import save_mirror

from fedchain.audit.evidence import Where, open_evidence, query_evidence, verify_evidence
from fedchain.audit.findings import Findings
from fedchain.core.errors import FormatError, LedgerUnreachable, ParameterError
from fedchain.store.files import FileBlobs


@pytest.fixture
async def offline(tmp_path: Path) -> Where:
    """A mirror and a blob folder of a federation with one version after genesis."""
    simulation = Simulation(blobs=FileBlobs(tmp_path / "blobs"))
    await simulation.found()
    await simulation.round()
    mirror = save_mirror(tmp_path / "ledger.sqlite", simulation.chain)
    return Where(mirror=mirror, blobs=(tmp_path / "blobs",), head=simulation.chain.head.hex(), offline=True)


async def test_a_mirror_and_folders_are_evidence_enough(offline: Where) -> None:
    async with open_evidence(offline) as evidence:
        assert (evidence.ledger, evidence.copy is not None, len(evidence.sources)) == (None, True, 1)
    report = await verify_evidence(offline, threads=2)
    assert (report.exit_code, report.recomputed, report.proof) == (0, 1, "the head given")


async def test_questions(offline: Where) -> None:
    findings = Findings()
    questions = await query_evidence(offline, findings)
    assert [row["version"] for row in questions.versions()] == [0, 1]
    assert findings.found == []


async def test_a_file_that_is_not_a_mirror(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_text("not a database, but long enough to be read as the header of one" * 9)
    with pytest.raises(FormatError, match="is not a mirror of a ledger"):
        await verify_evidence(Where(mirror=path, offline=True))


async def test_a_mirror_of_another_ledger(offline: Where) -> None:
    where = Where(mirror=offline.mirror, contract="0x" + "11" * 20, offline=True)
    with pytest.raises(ParameterError, match=r"it mirrors the ledger 0x.*, not 0x1111") as caught:
        await verify_evidence(where)
    assert (caught.value.parameter, caught.value.value) == ("mirror", offline.mirror)


async def test_a_chain_that_does_not_answer() -> None:
    with pytest.raises(LedgerUnreachable, match="does not answer"):
        await verify_evidence(Where(rpc="http://127.0.0.1:9", contract="0x" + "11" * 20))
