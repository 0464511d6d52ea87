"""The strategies that policies may name: a new one is a file beside this one and its line here."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Final, Union

from pydantic import Field

from fedchain.core.strategies.strategy import Parameters, Preset, Strategy

_MODULES: Final = (
    "mean",
    "mixing",
    "median",
)

STRATEGIES: Final[dict[str, Strategy[Any]]] = {
    name: import_module(f"fedchain.core.strategies.{name}").STRATEGY for name in _MODULES
}
"""Every strategy by its name, which is its module's."""

PRESETS: Final[dict[str, Preset]] = {
    name: preset for strategy in STRATEGIES.values() for name, preset in strategy.presets.items()
}
"""Algorithms by name."""

if TYPE_CHECKING:
    AnyParameters = Parameters
else:
    AnyParameters = Annotated[
        Union[tuple(strategy.parameters for strategy in STRATEGIES.values())],  # noqa: UP007 - made at run time
        Field(discriminator="name"),
    ]
"""What a policy's `strategy` may be."""
