"""A damaged mirror: whichever record is changed, left out, put in or out of order, the audit names that one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from simulation.audits import audit, sole
from simulation.federation import AUDITOR, Simulation
from simulation.mirrors import MinedLedger, damage, mined, save_mirror

from fedchain.audit.chain import differences
from fedchain.audit.findings import Rule
from fedchain.audit.mirror import read_mirror
from fedchain.audit.report import Report
from fedchain.audit.sources import LocalSource
from fedchain.audit.verify import verify
from fedchain.core.errors import FormatError, LedgerUnreachable
from fedchain.core.ledger.records import Attested, Head, Record, Seq, Verdict
from fedchain.store.alone import LoneStore
from fedchain.store.memory import MemoryBlobs

RECORDS = 13
"""Records of the simulated federation: one governor, four roles, three sites, policy, genesis, …"""


async def publish_one(seed: int = 0) -> Simulation:
    made = Simulation(seed=seed)
    await made.found()
    made.submit(0)
    made.close()
    await made.publish()
    made.act(AUDITOR, Attested(made.chain.records[-1].seq, Verdict.RECOMPUTED))
    return made


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    """A federation with one version after genesis; no test changes it."""
    made = asyncio.run(publish_one())
    assert len(made.chain.records) == RECORDS
    return made


@pytest.fixture
def mirror(simulation: Simulation, tmp_path: Path) -> Path:
    return save_mirror(tmp_path / "ledger.sqlite", simulation.chain)


async def online(simulation: Simulation, mirror: Path) -> Report:
    """Judge with the chain and a mirror."""
    federation, copy = read_mirror(mirror)
    assert federation == simulation.chain.federation
    return await audit(simulation, ledger=MinedLedger(simulation.chain), copy=copy)


async def offline(simulation: Simulation, mirror: Path, head: Head | None = None) -> Report:
    """Judge with a mirror alone."""
    federation, copy = read_mirror(mirror)
    blobs = LocalSource("heap", simulation.blobs)
    return await verify(federation, sources=[blobs], fallback=LoneStore(MemoryBlobs()), copy=copy, head=head)


def renumber(seq: int, step: int) -> list[str]:
    """Shift the rows from a seq on, as one who hides a row that is gone or makes room for one."""
    return [
        f"UPDATE records SET seq = -seq - 1000 WHERE seq >= {seq}",
        f"UPDATE records SET seq = -seq - 1000 + {step} WHERE seq < 0",
    ]


COPY = (
    "INSERT INTO records SELECT {to}, kind, actor, time, payload, block, block_hash, tx, log_index, head FROM records"
)


async def test_a_whole_mirror(simulation: Simulation, mirror: Path) -> None:
    report = await online(simulation, mirror)
    assert (report.exit_code, report.proof, report.block) == (0, "the contract's head", 100 + RECORDS - 1)
    report = await offline(simulation, mirror)
    assert (report.exit_code, report.proof, report.recomputed) == (0, "", 1)
    assert "compared with nothing" in report.verdict
    assert "a head known from elsewhere" in str(report.notes[0])
    report = await offline(simulation, mirror, simulation.chain.head)
    assert (report.exit_code, report.proof, report.notes) == (0, "the head given", ())


@pytest.mark.parametrize("seq", range(RECORDS))
@pytest.mark.parametrize(
    "change",
    [
        "time = time + 1",
        "actor = '0x' || substr(actor, 40, 3) || substr(actor, 3, 39)",
        "payload = CAST(x'01' || coalesce(substr(payload, 2), '') AS BLOB)",
        "payload = CAST(coalesce(substr(payload, 1, length(payload) - 1), '') || x'77' AS BLOB)",
        "kind = kind % 9 + 1",
        "actor = 7",
        "time = 'noon'",
        "payload = 'gone'",
    ],
)
async def test_any_record_changed(simulation: Simulation, mirror: Path, seq: int, change: str) -> None:
    damage(mirror, f"UPDATE records SET {change} WHERE seq = {seq}")
    truth = mined(simulation.chain.records)[seq]
    assert truth.place is not None
    finding = sole(await online(simulation, mirror))
    assert (finding.rule, finding.subject) == (Rule.RECORD_CHANGED, f"record {seq}")
    assert finding.evidence["seq"] == seq
    assert finding.evidence["transaction"] == truth.place.transaction
    assert str(finding.evidence["ledger_head"]).startswith("0x")
    assert finding.evidence["file"] == str(mirror)
    report = await offline(simulation, mirror)
    finding = sole(report)
    assert (finding.rule, finding.subject) == (Rule.RECORD_CHANGED, f"record {seq}")
    assert str(report.unchecked[0]).startswith(f"records from {seq} on")


async def test_what_changed_is_said_field_by_field(simulation: Simulation, mirror: Path) -> None:
    damage(mirror, "UPDATE records SET time = time + 1 WHERE seq = 5")
    time = simulation.chain.records[5].time
    finding = sole(await online(simulation, mirror))
    assert (finding.stated, finding.expected) == (f"time={time + 1}", f"time={time}")


async def test_a_changed_place_is_a_changed_record(simulation: Simulation, mirror: Path) -> None:
    damage(mirror, "UPDATE records SET tx = '0xfe', time = time + 1 WHERE seq = 5")
    finding = sole(await online(simulation, mirror))
    assert "transaction=0xfe" in finding.stated


@pytest.mark.parametrize("seq", range(RECORDS))
@pytest.mark.parametrize("is_hidden", [False, True])
async def test_any_record_left_out(simulation: Simulation, mirror: Path, seq: int, is_hidden: bool) -> None:
    damage(mirror, f"DELETE FROM records WHERE seq = {seq}", *(renumber(seq, -1) if is_hidden else []))
    finding = sole(await online(simulation, mirror))
    assert (finding.rule, finding.subject) == (Rule.RECORD_MISSING, f"record {seq}")
    assert finding.evidence["transaction"] == f"0x7{seq:063x}"
    if seq == RECORDS - 1:
        finding = sole(await offline(simulation, mirror, simulation.chain.head))
        assert finding.rule is Rule.LEDGER_HEAD
        return
    finding = sole(await offline(simulation, mirror))
    assert finding.subject == f"record {seq}"
    assert finding.rule is (Rule.RECORD_CHANGED if is_hidden else Rule.RECORD_MISSING)


@pytest.mark.parametrize("seq", range(RECORDS + 1))
async def test_any_row_put_in(simulation: Simulation, mirror: Path, seq: int) -> None:
    source = f"{COPY.format(to=seq)} WHERE seq = {seq + 1 if seq < RECORDS else seq - 1}"
    forge = f"UPDATE records SET time = time + 7, head = x'{'ab' * 32}' WHERE seq = {seq}"
    damage(mirror, *renumber(seq, 1), source, forge)
    for report in (await online(simulation, mirror), await offline(simulation, mirror)):
        finding = sole(report)
        if seq == RECORDS and report.proof == "":
            assert finding.rule is Rule.RECORD_CHANGED  # a last row with a wrong head: nothing follows it
        else:
            assert finding.rule is Rule.RECORD_ADDED
        assert finding.subject == f"record {seq}"


@pytest.mark.parametrize(("one", "other"), [(0, 1), (4, 5), (3, 9), (RECORDS - 2, RECORDS - 1), (0, RECORDS - 1)])
async def test_rows_out_of_order(simulation: Simulation, mirror: Path, one: int, other: int) -> None:
    damage(
        mirror,
        f"UPDATE records SET seq = -1 WHERE seq = {one}",
        f"UPDATE records SET seq = {one} WHERE seq = {other}",
        f"UPDATE records SET seq = {other} WHERE seq = -1",
    )
    for report in (await online(simulation, mirror), await offline(simulation, mirror)):
        finding = sole(report)
        assert finding.rule is Rule.RECORD_ORDER
        assert f"record {one} at place {other}" in finding.stated or f"record {other} at place {one}" in finding.stated
        assert (report.versions, report.recomputed) == (2, 1)


async def test_a_changed_head_only(simulation: Simulation, mirror: Path) -> None:
    damage(mirror, f"UPDATE records SET head = x'{'cd' * 32}' WHERE seq = 4")
    for report in (await online(simulation, mirror), await offline(simulation, mirror)):
        finding = sole(report)
        assert (finding.rule, finding.subject) == (Rule.RECORD_HEAD, "record 4")
        assert finding.evidence["stored_head"] == "0x" + "cd" * 32


async def test_a_mirror_rewritten_with_all_its_heads(simulation: Simulation, tmp_path: Path) -> None:
    """Offline only the head from elsewhere shows it; online the record is named."""
    other = await publish_one(seed=1)
    mirror = save_mirror(tmp_path / "rewritten.sqlite", other.chain)
    finding = sole(await offline(simulation, mirror, simulation.chain.head))
    assert finding.rule is Rule.LEDGER_HEAD
    report = await online(simulation, mirror)
    assert [finding.subject for finding in report.findings] == ["record 9", "record 11"]


async def test_a_mirror_that_lags_behind_is_no_finding(simulation: Simulation, mirror: Path) -> None:
    damage(mirror, "DELETE FROM records WHERE seq >= 9", "UPDATE ledger SET block = 108")
    report = await online(simulation, mirror)
    assert report.exit_code == 0
    assert f"before the last {RECORDS - 9} records" in str(report.notes[0])


async def test_a_head_given_that_is_older(simulation: Simulation, mirror: Path) -> None:
    _, copy = read_mirror(mirror)
    report = await offline(simulation, mirror, copy.rows[10].head)
    assert report.exit_code == 0
    assert "record 10" in str(report.notes[0])


async def test_a_head_from_elsewhere_judges_the_endpoint_too(simulation: Simulation) -> None:
    async def judge(head: Head) -> Report:
        ledger = MinedLedger(simulation.chain)
        source = LocalSource("heap", simulation.blobs)
        fallback = LoneStore(MemoryBlobs())
        return await verify(ledger.federation, sources=[source], fallback=fallback, ledger=ledger, head=head)

    assert (await judge(simulation.chain.head)).exit_code == 0
    finding = sole(await judge(Head(b"\xee" * 32)))
    assert (finding.rule, finding.expected) == (Rule.LEDGER_HEAD, f"0x{'ee' * 32}, the head given, on the way")


async def test_an_endpoint_that_leaves_a_record_out(simulation: Simulation, mirror: Path) -> None:
    class Lying(MinedLedger):
        async def records(self, start: Seq = Seq(0), after: Head | None = None) -> list[Record]:
            del after
            records = mined(self._chain.records)
            return [record for record in records if record.seq != 8][start:]

    report = await audit(simulation, ledger=Lying(simulation.chain))
    finding = sole(report)
    assert (finding.rule, finding.subject) == (Rule.LEDGER_HEAD, "the ledger's endpoint")
    _, copy = read_mirror(mirror)
    assert (await audit(simulation, ledger=Lying(simulation.chain), copy=copy)).exit_code == 0


async def test_an_endpoint_that_does_not_answer(simulation: Simulation, mirror: Path) -> None:
    class Silent(MinedLedger):
        async def head(self) -> Head:
            raise LedgerUnreachable("http://localhost:1 does not answer: start it, or name another")

    _, copy = read_mirror(mirror)
    report = await audit(simulation, ledger=Silent(simulation.chain), copy=copy)
    assert (report.exit_code, report.recomputed) == (2, 1)
    assert report.unchecked[0].subject == "the ledger's head"


def test_a_file_that_is_no_mirror(tmp_path: Path) -> None:
    (tmp_path / "x.sqlite").write_bytes(b"something else")
    with pytest.raises(FormatError, match="not a mirror"):
        read_mirror(tmp_path / "x.sqlite")


@pytest.mark.parametrize(
    ("ours", "theirs", "pairs"),
    [
        ("abcd", "abcd", []),
        ("abcd", "abxd", [(2, 2)]),
        ("abcd", "abd", [(2, None)]),
        ("abcd", "abxcd", [(None, 2)]),
        ("abcd", "acbd", [(1, 2)]),
        ("abcd", "", [(0, None), (1, None), (2, None), (3, None)]),
        ("ab", "abcd", [(None, 2), (None, 3)]),
    ],
)
def test_differences(ours: str, theirs: str, pairs: list[tuple[int | None, int | None]]) -> None:
    found = differences(ours, theirs)
    if ours == "abcd" and theirs == "acbd":
        assert found in ([(1, 2)], [(2, 1)])
    else:
        assert found == pairs
