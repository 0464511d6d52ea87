"""What a user writes: a class with three methods.

    class BreastCancer:
        def model(self) -> torch.nn.Module: ...
        def train(self, model, run: fedchain.Run) -> fedchain.Fit: ...
        def evaluate(self, model, run: fedchain.Run) -> dict[str, float]: ...

No base class, no decorators, no types of fedchain inside the training loop.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Final, Protocol, TypeVar, cast

from fedchain.core.errors import FedchainError, TaskError

if TYPE_CHECKING:
    import torch

Setting = str | int | float | bool
"""A value of the [site] table in node.toml."""

Progress = Callable[[int, int, Mapping[str, float]], None]
"""Called with steps done, steps in all, and metrics so far."""

_Value = TypeVar("_Value", bound=Setting)
_METHODS: Final = ("model", "train", "evaluate")


def _silent(step: int, total: int, metrics: Mapping[str, float]) -> None:
    """Report progress to nobody."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a task is given for one training or one evaluation."""

    device: torch.device
    """Where the model is, and where the data belongs."""
    folder: Path = field(default_factory=Path)
    """The site's folder: relative paths among the settings start here."""
    settings: Mapping[str, Setting] = field(default_factory=lambda: MappingProxyType({}))
    """The [site] table of node.toml, as the site wrote it."""
    seed: int = 0
    """Already given to torch, numpy and random; for generators of the task's own."""
    steps: int | None = None
    """Optimiser steps to take; None leaves it to the task."""
    progress: Progress = _silent
    stop: Event = field(default_factory=Event)
    """Set when the node shuts down: a task that looks at it between steps returns early, and is dropped."""

    def setting(self, name: str, default: _Value, least: float | None = None) -> _Value:
        """Return a setting, of the default's type and not below `least`, or the default; raises TaskError."""
        given = self.settings.get(name, default)
        value = float(given) if type(given) is int and type(default) is float else given
        if type(value) is not type(default):
            wanted = f"{type(default).__name__}, as in {default!r}"
            raise TaskError(f"[site] {name} = {given!r} is {type(given).__name__}: expected {wanted}")
        if least is not None and not (isinstance(value, int | float) and value >= least):
            raise TaskError(f"[site] {name} = {given!r}: expected {least} or more, as in {default!r}")
        return cast(_Value, value)

    def file(self, name: str) -> Path:
        """Return the path that a setting names, seen from the site's folder; raises TaskError."""
        if name not in self.settings:
            raise TaskError(f"[site] {name} is missing: set it to the name of a file in {self.folder}")
        path = self.folder / self.setting(name, "")
        if not path.is_file():
            raise TaskError(f"[site] {name} = {self.settings[name]!r}: there is no file {path}")
        return path


@dataclass(frozen=True, slots=True)
class Fit:
    """What a training did."""

    samples: int
    """Examples trained on, at least 1: a policy may weigh the update by it."""
    metrics: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """Finite numbers for people to read, as in {"loss": 0.3}."""


class Task(Protocol):
    """A model, how it is trained on one site's data, and how it is evaluated there."""

    def model(self) -> torch.nn.Module:
        """Build the model; its parameters and buffers are float32 or integers, none of them shared."""

    def train(self, model: torch.nn.Module, run: Run) -> Fit:
        """Train the model in place on the site's data."""

    def evaluate(self, model: torch.nn.Module, run: Run) -> dict[str, float]:
        """Evaluate the model on data of the site that `train` never sees."""


def load_task(name: str, folder: Path | None = None) -> Task:
    """Import and make the task that `module:Class` names, with `folder` on Python's path from now on.

    Raises TaskError when module, class or a method is missing, or when the module or the class fails.
    """
    module_name, _, class_name = name.partition(":")
    if not module_name or not class_name.isidentifier():
        raise TaskError(f"task = {name!r}: expected module:Class, as in wdbc:BreastCancer")
    module = _import(module_name, folder)
    kind = getattr(module, class_name, None)
    if not inspect.isclass(kind):
        classes = ", ".join(sorted(n for n, value in vars(module).items() if inspect.isclass(value)))
        raise TaskError(
            f"task = {name!r}: there is no class {class_name} in {module.__file__}, only {classes or 'none'}"
        )
    missing = ", ".join(method for method in _METHODS if not callable(getattr(kind, method, None)))
    if missing:
        raise TaskError(f"task = {name!r}: {class_name} in {module.__file__} lacks the method {missing}")
    with task_code(f"{class_name}()"):
        return cast(Task, kind())


@contextmanager
def task_code(what: str) -> Iterator[None]:
    """Turn whatever the user's code raises into a TaskError that says where; fedchain's own errors pass."""
    try:
        yield
    except FedchainError:
        raise
    except Exception as error:  # the user's code runs here: it may raise anything
        raise TaskError(f"{what} failed: {type(error).__name__}: {error}") from error


def _import(module_name: str, folder: Path | None) -> ModuleType:
    if folder is not None and str(folder.resolve()) not in sys.path:
        sys.path.insert(0, str(folder.resolve()))
    importlib.invalidate_caches()
    with task_code(f"importing the task's module {module_name}"):
        try:
            return importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
                raise
            where = f"{folder} and on Python's path" if folder else "on Python's path"
            raise TaskError(f"there is no module {module_name}: looked in {where}") from error
