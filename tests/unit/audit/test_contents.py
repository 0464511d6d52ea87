"""Damaged blobs: whichever byte is wrong, the audit names the file and the place."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import pytest
from simulation.audits import audit, sole

from fedchain.audit.authority import contents_of
from fedchain.audit.findings import Rule
from fedchain.audit.report import Report
from fedchain.audit.sources import Folder
from fedchain.core.errors import ConfigError
from fedchain.core.ledger.content import CHUNK_SIZE, Content
from fedchain.simulation.federation import Simulation
from fedchain.store.files import FileBlobs

ELEMENTS = 2 * CHUNK_SIZE // 4 + 100
"""A model of three chunks."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Simulation, Path]:
    """A federation with models and updates of three chunks and one version after genesis."""
    folder = tmp_path_factory.mktemp("made") / "blobs"

    async def make() -> Simulation:
        simulation = Simulation(heap=FileBlobs(folder), sites=2, elements=ELEMENTS)
        await simulation.deploy()
        await simulation.round()
        return simulation

    return asyncio.run(make()), folder


@pytest.fixture
def simulation(made: tuple[Simulation, Path]) -> Simulation:
    return made[0]


@pytest.fixture
def folder(made: tuple[Simulation, Path], tmp_path: Path) -> Path:
    """A copy of the blob folder to damage."""
    return Path(shutil.copytree(made[1], tmp_path / "blobs"))


def blobs(simulation: Simulation) -> dict[str, Content]:
    """Name every blob of the federation."""
    found = {}
    for record in simulation.chain.records:
        for field, content in contents_of(record).items():
            found[f"{field} of record {record.seq}"] = content
    return found


NAMES = [
    *(f"profile of record {seq}" for seq in (4, 5)),
    *(f"{field} of record {seq}" for seq in (7, 10) for field in ("model", "manifest")),
    *(f"content of record {seq}" for seq in (8, 9)),
]
LARGE = ["model of record 7", "content of record 8", "content of record 9", "model of record 10"]


def flip(path: Path, offset: int) -> None:
    """Change one byte of a file, without changing its length."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


async def judge(simulation: Simulation, folders: Sequence[Path]) -> Report:
    before = {path: (path.stat().st_mtime_ns, sorted(path.iterdir())) for path in folders}
    report = await audit(simulation, sources=[Folder(folder) for folder in folders])
    assert before == {path: (path.stat().st_mtime_ns, sorted(path.iterdir())) for path in folders}
    return report


async def test_whole_folders_are_clean(simulation: Simulation, folder: Path) -> None:
    assert sorted(blobs(simulation)) == sorted(NAMES)
    report = await judge(simulation, [folder])
    assert (report.exit_code, report.blobs, report.recomputed, report.notes) == (0, len(NAMES), 1, ())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("where", ["first", "last"])
async def test_one_byte_of_any_blob(simulation: Simulation, folder: Path, name: str, where: str) -> None:
    content = blobs(simulation)[name]
    offset = 0 if where == "first" else content.size - 1
    path = folder / content.cid
    flip(path, offset)
    finding = sole(await judge(simulation, [folder]))
    block = offset // CHUNK_SIZE
    data = path.read_bytes()[block * CHUNK_SIZE : (block + 1) * CHUNK_SIZE]
    assert finding.rule is Rule.CONTENT_BYTES
    assert finding.evidence["cid"] == content.cid
    assert finding.evidence["file"] == str(path)
    assert (finding.evidence["block"], finding.evidence["offset"]) == (block, block * CHUNK_SIZE)
    assert finding.evidence["digest"] == sha256(data).hexdigest()
    data = data[:-1] + bytes([data[-1] ^ 1]) if where == "last" else bytes([data[0] ^ 1]) + data[1:]
    assert finding.evidence["expected_digest"] == sha256(data).hexdigest()
    assert finding.evidence["wrong_blocks"] == 1


@pytest.mark.parametrize("name", NAMES)
async def test_a_good_copy_elsewhere_is_used_and_shows_the_byte(
    simulation: Simulation, made: tuple[Simulation, Path], folder: Path, name: str
) -> None:
    content = blobs(simulation)[name]
    offset = content.size // 2
    flip(folder / content.cid, offset)
    report = await judge(simulation, [folder, made[1]])
    finding = sole(report)
    assert finding.evidence["byte"] == offset
    assert finding.evidence["good_copy"] == str(made[1] / content.cid)
    assert (report.unchecked, report.recomputed) == ((), 1)


@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("offset", [0, 30, 80, -1])
async def test_one_byte_of_any_tree(simulation: Simulation, folder: Path, name: str, offset: int) -> None:
    content = blobs(simulation)[name]
    path = folder / f"{content.cid}.car"
    offset %= path.stat().st_size
    flip(path, offset)
    report = await judge(simulation, [folder])
    finding = sole(report)
    assert (finding.rule, finding.evidence["file"], finding.evidence["byte"]) == (Rule.CONTENT_TREE, str(path), offset)
    assert (report.unchecked, report.recomputed) == ((), 1)


@pytest.mark.parametrize("size", [0, 5, -1])
async def test_a_blob_of_another_length(simulation: Simulation, folder: Path, size: int) -> None:
    content = blobs(simulation)["model of record 10"]
    path = folder / content.cid
    path.write_bytes(path.read_bytes()[: size % content.size])
    finding = sole(await judge(simulation, [folder]))
    assert finding.rule is Rule.CONTENT_BYTES
    assert (finding.evidence["size"], finding.evidence["expected_size"]) == (size % content.size, content.size)


async def test_without_a_tree_the_blob_is_still_refused(simulation: Simulation, folder: Path) -> None:
    content = blobs(simulation)["model of record 10"]
    flip(folder / content.cid, 7)
    (folder / f"{content.cid}.car").unlink()
    finding = sole(await judge(simulation, [folder]))
    assert finding.evidence["expected_digest"] == content.digest.hex()


@pytest.mark.parametrize(
    ("name", "unchecked"),
    [
        ("profile of record 4", []),
        ("model of record 7", ["version 1"]),
        ("manifest of record 7", ["version 0"]),
        ("content of record 9", ["version 1"]),
        ("model of record 10", []),
        ("manifest of record 10", ["version 1"]),
    ],
)
async def test_a_missing_blob(simulation: Simulation, folder: Path, name: str, unchecked: list[str]) -> None:
    content = blobs(simulation)[name]
    (folder / content.cid).unlink()
    report = await judge(simulation, [folder])
    assert [gap.subject for gap in report.unchecked] == unchecked
    assert all(content.cid in gap.reason for gap in report.unchecked)
    assert (report.exit_code, report.findings) == (2 if unchecked else 0, ())


async def test_two_folders_that_each_have_half(simulation: Simulation, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for content in list(blobs(simulation).values())[::2]:
        (folder / content.cid).rename(other / content.cid)
    assert (await judge(simulation, [folder, other])).exit_code == 0


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        Folder(tmp_path / "nowhere")
