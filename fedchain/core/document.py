"""Documents: canonical JSON (RFC 8785) with a fixed set of keys."""

from __future__ import annotations

from typing import Annotated, Any, Self

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedchain.core.content import Content, content_of
from fedchain.core.errors import FormatError

Count = Annotated[int, Field(ge=0, lt=2**53)]
"""A whole number that JSON carries exactly (RFC 7493, section 2.2)."""


class Document(BaseModel):
    """A frozen document: unknown keys and wrong types are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def canonical(self) -> bytes:
        """Spell the document as RFC 8785 JSON: one document, one spelling."""
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
    """A content as documents spell it."""

    cid: str
    size: Count

    @property
    def content(self) -> Content:
        """The pair that records carry; raises FormatError when CID and size contradict each other."""
        return content_of(self.cid, self.size)


def explain(error: ValidationError) -> str:
    """Say in one line what pydantic found: key, value, what is allowed."""
    return "; ".join(_line(detail) for detail in error.errors())


def _line(detail: Any) -> str:
    key = ".".join(map(str, detail["loc"])) or "document"
    if detail["type"] == "extra_forbidden":
        return f"{key} is not a known key"
    value = "" if detail["type"] == "missing" else f" = {detail['input']!r:.80}"
    return f"{key}{value}: {detail['msg'][:1].lower()}{detail['msg'][1:]}"
