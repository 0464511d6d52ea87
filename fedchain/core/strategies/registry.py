"""The strategies that policies may name: a new one is a file beside this one and its line here."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any, Final

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

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


class _OneOfThem:
    """The schema of AnyParameters: the parameters of the strategy that `name` names."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        choices = {name: handler.generate_schema(strategy.parameters) for name, strategy in STRATEGIES.items()}
        return core_schema.tagged_union_schema(dict(choices), discriminator="name")


AnyParameters = Annotated[Parameters, _OneOfThem()]
"""What a policy's `strategy` may be: the parameters of any strategy."""
