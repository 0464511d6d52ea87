"""Documents: canonical JSON (RFC 8785) with a fixed set of keys."""

from __future__ import annotations

from typing import Annotated, Any, Self

import rfc8785
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError, model_validator

from fedchain.core.errors import FormatError
from fedchain.core.ledger.content import Content, content_of
from fedchain.core.ports import Blobs

_EXACT = 2**53

Count = Annotated[int, Field(ge=0, lt=_EXACT)]
"""A whole number that JSON carries exactly (RFC 7493, section 2.2)."""


def _read_digits(value: object) -> object:
    return int(value) if isinstance(value, str) and value.isdecimal() and len(value) <= 20 else value


def _encode_number(value: int) -> int | str:
    return value if value < _EXACT else str(value)


U64 = Annotated[
    int, BeforeValidator(_read_digits), Field(ge=0, lt=2**64), PlainSerializer(_encode_number, when_used="json")
]
"""A number as the ledger has it, below 2^64: in JSON a number while that is exact, from 2^53 on its digits.

Whoever submits a record chooses its numbers, so every one of them must have an encoding.
"""


class Document(BaseModel):
    """A frozen document: unknown keys and wrong types are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def canonical(self) -> bytes:
        """Encode the document as RFC 8785 JSON: one document, one encoding."""
        return rfc8785.dumps(self.model_dump(mode="json", by_alias=True))

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a canonical document; raises FormatError naming each key, its value and what is allowed."""
        try:
            document = cls.model_validate_json(data)
        except ValidationError as error:
            raise FormatError(f"{cls.__name__.lower()}: {explain(error)}") from error
        if document.canonical() != data:
            raise FormatError(f"{cls.__name__.lower()}: not in canonical form (RFC 8785), or keys left to defaults")
        return document


class Blob(Document):
    """A content as documents name it."""

    cid: str
    size: U64

    @model_validator(mode="after")
    def _names_a_content(self) -> Self:
        try:
            content_of(self.cid, self.size)
        except FormatError as error:
            raise ValueError(str(error)) from error
        return self

    @property
    def content(self) -> Content:
        """The pair that records carry."""
        return content_of(self.cid, self.size)


def put(blobs: Blobs, data: bytes) -> Content:
    """Store a document's bytes and return their name; on any error nothing is left."""
    writer = blobs.create()
    try:
        writer.write(data)
        return writer.commit()
    finally:
        writer.abort()


def explain(error: ValidationError) -> str:
    """Say in one line what pydantic found: key, value, what is allowed."""
    return "; ".join(_line(detail) for detail in error.errors())


def _line(detail: Any) -> str:
    key = ".".join(map(str, detail["loc"])) or "document"
    if detail["type"] == "extra_forbidden":
        return f"{key} is not a known key"
    value = "" if detail["type"] == "missing" else f" = {detail['input']!r:.80}"
    return f"{key}{value}: {detail['msg'][:1].lower()}{detail['msg'][1:]}"
