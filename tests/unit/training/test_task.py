from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import fedchain
from fedchain.core.errors import FormatError, TaskError
from fedchain.training.task import Fit, Run, load_task, task_code

WHOLE = """
import own_helper_{name}

class Mine:
    def model(self): return own_helper_{name}.ANSWER
    def train(self, model, run): ...
    def evaluate(self, model, run): ...

class Half:
    def model(self): ...

class Unmakeable(Mine):
    def __init__(self, dose): ...

number = 3
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    path, modules = sys.path.copy(), set(sys.modules)
    name = tmp_path.name.replace("-", "_")
    (tmp_path / "mine.py").write_text(WHOLE.format(name=name))
    (tmp_path / f"own_helper_{name}.py").write_text("ANSWER = 42")
    yield tmp_path
    sys.path[:] = path
    for module in set(sys.modules) - modules:
        del sys.modules[module]


def run(folder: Path = Path(), **settings: str | int | float | bool) -> Run:
    return Run(torch.device("cpu"), folder, settings)


def test_a_task_is_loaded_from_its_folder_with_its_neighbours(folder: Path) -> None:
    assert load_task("mine:Mine", folder).model() == 42
    load_task("mine:Mine", folder)
    assert sys.path.count(str(folder)) == 1


def test_a_task_is_loaded_from_an_installed_module() -> None:
    task = load_task("fedchain.training.examples.wdbc:BreastCancer")
    assert isinstance(task.model(), torch.nn.Module)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mine", ["'mine'", "module:Class"]),
        (":Mine", ["module:Class"]),
        ("mine:Mine.model", ["module:Class"]),
        ("nowhere_at_all:Mine", ["no module nowhere_at_all", "{folder}"]),
        ("mine:Missing", ["no class Missing", "mine.py", "Half, Mine, Unmakeable"]),
        ("mine:number", ["no class number"]),
        ("mine:Half", ["Half", "lacks the method train, evaluate"]),
        ("mine:Unmakeable", ["Unmakeable() failed", "dose"]),
    ],
)
def test_a_task_that_cannot_be_loaded_says_why(folder: Path, name: str, words: list[str]) -> None:
    with pytest.raises(TaskError) as caught:
        load_task(name, folder)
    for word in words:
        assert word.format(folder=folder) in str(caught.value)


@pytest.mark.parametrize("body", ["import not_there_at_all", "1 / 0", "def ("])
def test_a_module_that_fails_to_import_keeps_its_own_error(folder: Path, body: str) -> None:
    (folder / "broken.py").write_text(body)
    with pytest.raises(TaskError, match="importing the task's module broken failed") as caught:
        load_task("broken:Mine", folder)
    assert isinstance(caught.value.__cause__, ModuleNotFoundError | ZeroDivisionError | SyntaxError)


def test_task_code_passes_fedchains_errors_and_what_is_no_error() -> None:
    with pytest.raises(FormatError), task_code("x"):
        raise FormatError("as it is")
    with pytest.raises(KeyboardInterrupt), task_code("x"):
        raise KeyboardInterrupt


def test_settings_have_the_type_of_their_default() -> None:
    given = run(epochs=3, lr=1, data="a.csv", shuffle=False)
    assert given.setting("epochs", 5) == 3
    assert given.setting("batch", 16) == 16
    assert given.setting("shuffle", True) is False
    rate = given.setting("lr", 0.1)
    assert isinstance(rate, float)
    assert rate == 1.0


@pytest.mark.parametrize(
    ("value", "default", "least"),
    [("3", 5, None), (3.0, 5, None), (True, 5, None), (1, True, None), (0, 5, 1), (-0.1, 0.5, 0.0)],
)
def test_a_setting_that_cannot_be_used_is_named(value: str | float, default: float, least: float | None) -> None:
    with pytest.raises(TaskError) as caught:
        run(epochs=value).setting("epochs", default, least=least)
    assert f"[site] epochs = {value!r}" in str(caught.value)
    assert repr(default) in str(caught.value)


def test_a_file_is_found_in_the_sites_folder(tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()
    assert run(tmp_path, data="a.csv").file("data") == tmp_path / "a.csv"
    with pytest.raises(TaskError, match=r"\[site\] data is missing"):
        run(tmp_path).file("data")
    with pytest.raises(TaskError, match=f"'b.csv': there is no file {tmp_path / 'b.csv'}"):
        run(tmp_path, data="b.csv").file("data")


def test_fedchain_offers_the_tasks_words() -> None:
    assert fedchain.Run is Run
    assert fedchain.Fit is Fit
    with pytest.raises(AttributeError, match="'Model'"):
        _ = fedchain.Model


def test_importing_fedchain_or_its_task_words_leaves_torch_out() -> None:
    code = "import sys, fedchain; fedchain.Run, fedchain.Fit, fedchain.Task; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
