from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from fedchain.core.errors import TaskError
from fedchain.training.examples.addconstant import AddConstant
from fedchain.training.examples.digits import Digits, read_scans
from fedchain.training.examples.wdbc import RANGES, BreastCancer, read_patients
from fedchain.training.trainer import Options, Trainer

ONE_THREAD = Options("cpu", threads=1)
NAMES = [*RANGES, "diagnosis"]
LOW = [str(low) for low, _ in RANGES.values()]
HIGH = [str(high) for _, high in RANGES.values()]


def table(path: Path, *rows: list[str], header: list[str] = NAMES) -> Path:
    path.write_text("".join(",".join(row) + "\n" for row in (header, *rows)), encoding="utf-8-sig")
    return path


def test_patients_are_scaled_by_public_ranges(tmp_path: Path) -> None:
    patients = read_patients(table(tmp_path / "p.csv", [*LOW, "benign"], [*HIGH, "malignant"]))
    assert patients.labels.tolist() == [0, 1]
    assert patients.inputs.dtype == np.float32
    assert patients.inputs.tolist() == [[-1.0] * 30, [3.0] * 30]


def test_the_ranges_are_those_that_the_data_sets_documentation_prints() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    data = datasets.load_breast_cancer()
    summary = [line.split("):")[1].split() for line in data.DESCR.splitlines() if "):" in line]
    printed = [(float(low), float(high)) for low, high in (row for row in summary if len(row) == 2)]
    assert list(RANGES) == list(data.feature_names)
    assert list(RANGES.values()) == printed


def test_columns_may_stand_in_any_order_beside_others(tmp_path: Path) -> None:
    row = dict(zip(NAMES, [*LOW, "benign"], strict=True)) | {"patient": "0017"}
    header = sorted(row, reverse=True)
    patients = read_patients(table(tmp_path / "p.csv", [row[name] for name in header], header=header))
    assert patients.inputs.tolist() == [[-1.0] * 30]


def changed(column: str, value: str) -> list[str]:
    return [value if name == column else usual for name, usual in zip(NAMES, [*LOW, "benign"], strict=True)]


@pytest.mark.parametrize("value", ["", "n/a", "1,5", "nan", "inf", "1.2.3"])
def test_what_is_no_number_is_named_with_its_place(tmp_path: Path, value: str) -> None:
    quoted = f'"{value}"'
    path = table(tmp_path / "p.csv", [*LOW, "benign"], changed("mean area", quoted))
    with pytest.raises(TaskError) as caught:
        read_patients(path)
    expected = f"{path}, line 3, column mean area: {value!r} is not a number; 143.5 to 2501.0 is usual"
    assert str(caught.value) == expected


def test_an_unknown_diagnosis_is_named_with_its_place(tmp_path: Path) -> None:
    path = table(tmp_path / "p.csv", changed("diagnosis", "M"))
    with pytest.raises(TaskError) as caught:
        read_patients(path)
    assert str(caught.value) == f"{path}, line 2, column diagnosis: 'M' is not one of benign, malignant"


def test_missing_columns_are_named(tmp_path: Path) -> None:
    header = [name for name in NAMES if name not in ("mean area", "diagnosis")]
    with pytest.raises(TaskError, match=r"p\.csv, line 1: the header lacks the column mean area, diagnosis"):
        read_patients(table(tmp_path / "p.csv", header=header))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "line 1: the header lacks the column mean radius"),
        (",".join(NAMES).encode(), "has a header but no patients"),
        (",".join(NAMES).encode() + b"\n1,2", "line 2, column mean perimeter: None is not a number"),
        (",".join(NAMES).encode() + b'\n"1', "is not a CSV file in UTF-8"),
        (b"\xff\xfe\x00", "is not a CSV file in UTF-8"),
    ],
)
def test_a_file_that_is_no_table_of_patients_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "p.csv").write_bytes(content)
    with pytest.raises(TaskError, match=words):
        read_patients(tmp_path / "p.csv")


def scans(path: Path, images: object, labels: object) -> Path:
    np.savez(path, images=np.asarray(images), labels=np.asarray(labels))
    return path


def test_scans_are_scaled(tmp_path: Path) -> None:
    read = read_scans(scans(tmp_path / "s.npz", np.full((2, 8, 8), 16, np.uint8), np.uint8([3, 9])))
    assert read.inputs.shape == (2, 1, 8, 8)
    assert read.inputs.dtype == np.float32
    assert (read.inputs == 1).all()
    assert read.labels.tolist() == [3, 9]


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (np.zeros((2, 8, 9), int), [1, 2], r"images \(2, 8, 9\) and labels \(2,\) do not match"),
        (np.zeros((1, 8, 8), int), [1, 2], r"images \(1, 8, 8\) and labels \(2,\) do not match"),
        (np.zeros((0, 8, 8), int), np.zeros(0, int), "do not match: .* n at least 1"),
        (np.zeros((1, 8, 8), int), 1, "do not match"),
        (np.full((1, 8, 8), 17), [1], r"images\[0, 0, 0\] is 17: expected 0 to 16"),
        (np.zeros((2, 8, 8), int), [1, -1], r"labels\[1\] is -1: expected 0 to 9"),
        (np.zeros((1, 8, 8)), [1], "images are float64: expected whole numbers from 0 to 16"),
        (np.full((1, 8, 8), None), [1], "not an .npz file with arrays images and labels"),
    ],
)
def test_scans_that_cannot_be_used_are_refused(tmp_path: Path, images: object, labels: object, words: str) -> None:
    with pytest.raises(TaskError, match=words):
        read_scans(scans(tmp_path / "s.npz", images, labels))


def test_a_file_that_is_no_archive_of_scans_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    whole = scans(path, np.zeros((1, 8, 8), int), [1]).read_bytes()
    for content in (b"", b"images", whole[:300], whole[:-30]):
        path.write_bytes(content)
        with pytest.raises(TaskError, match=r"not an \.npz file with arrays images and labels"):
            read_scans(path)
    np.savez(path, images=np.zeros((1, 8, 8), int))
    with pytest.raises(TaskError, match="labels is not a file in the archive"):
        read_scans(path)
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(TaskError, match=r"not an \.npz file"):
        read_scans(path)


def test_the_models_have_the_size_they_say() -> None:
    assert sum(p.numel() for p in BreastCancer().model().parameters()) == 62
    assert sum(p.numel() for p in Digits().model().parameters()) == 6_090
    assert Digits().model()(torch.zeros(5, 1, 8, 8)).shape == (5, 10)


async def test_adding_a_constant() -> None:
    class Add1(AddConstant):
        megabytes = 1

    with closing(Trainer(Add1(), options=ONE_THREAD)) as trainer:
        genesis = await trainer.genesis(0)
        assert len(genesis) == 10
        assert sum(array.nbytes for array in genesis.values()) == 1_000_000
        once = await trainer.train(genesis, 0)
        twice = await trainer.train(once.arrays, 1)
        assert once.samples == 10
        for name, array in twice.arrays.items():
            np.testing.assert_allclose(array - genesis[name], 0.02, atol=1e-6)
        assert await trainer.evaluate(genesis) == {"added": 0.0}
        assert (await trainer.evaluate(twice.arrays))["added"] == pytest.approx(0.02, abs=1e-6)
