"""The encodings there are. A new one is a file beside this one, and its line here."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any, Final

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from fedchain.core.updates.encodings.encoding import Encoding, EncodingParameters

_MODULES: Final = (
    "q24",
    "int8",
)  # fmt: skip

ENCODINGS: Final[dict[str, Encoding[Any]]] = {
    name: import_module(f"fedchain.core.updates.encodings.{name}").ENCODING for name in _MODULES
}
"""Every encoding by its name, which is its module's."""


class _OneOfThem:
    """The schema of AnyEncoding: the parameters of the encoding that `name` names."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        choices = {name: handler.generate_schema(encoding.parameters) for name, encoding in ENCODINGS.items()}
        return core_schema.tagged_union_schema(dict(choices), discriminator="name")


AnyEncoding = Annotated[EncodingParameters, _OneOfThem()]
"""The parameters of any encoding, as a document's field. (pydantic's own discriminator refuses a union of one.)"""
