"""Updates of one site to one base, and every encoding with parameters drawn from what its document allows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
import pytest
from hypothesis import strategies as st

from fedchain.core.formats.layout import Layout
from fedchain.core.ledger.content import Content, Digest
from fedchain.core.ledger.records import Address
from fedchain.core.updates.encodings.encoding import EncodingParameters
from fedchain.core.updates.encodings.q24 import Q24
from fedchain.core.updates.encodings.registry import ENCODINGS
from fedchain.core.updates.updatefile import UpdateFile, write_integers
from fedchain.store.memory import MemoryBlobs

SITE = Address("0x" + "01" * 20)
BASE = Content(Digest(bytes(range(32))), 99)


@dataclass
class Desk:
    """Where one site writes its updates to one base, and reads them."""

    layout: Layout
    encoding: EncodingParameters = field(default_factory=Q24)
    blobs: MemoryBlobs = field(default_factory=MemoryBlobs)
    site: Address = SITE
    base: Content = BASE

    @property
    def whose(self) -> tuple[Layout, Address, Content]:
        return self.layout, self.site, self.base

    def write(self, arrays: dict[str, Any], provenance: bytes | None = None) -> bytes:
        content = write_integers(*self.whose, arrays, self.encoding, self.blobs.create(), provenance)
        return self.blobs.open(content).read(0, content.size)

    def put(self, data: bytes) -> Any:
        writer = self.blobs.create()
        writer.write(data)
        return self.blobs.open(writer.commit())

    def open(self, data: bytes) -> UpdateFile:
        return UpdateFile.open(self.put(data), *self.whose, [self.encoding])

    def read(self, data: bytes) -> Any:
        """The one merged vector."""
        q = np.empty(self.layout.elements, np.int32)
        self.open(data).read_into(0, q)
        return q


def drawn(name: str) -> st.SearchStrategy[EncodingParameters]:
    """Parameters of an encoding, within the bounds that its document states."""
    fields = ENCODINGS[name].parameters.model_fields
    kinds = {
        key: Annotated[(one.annotation, *one.metadata)] if one.metadata else one.annotation
        for key, one in fields.items()
    }
    return st.builds(ENCODINGS[name].parameters, **{key: st.from_type(kind) for key, kind in kinds.items()})


@pytest.fixture(scope="session")
def desk() -> type[Desk]:
    return Desk


@pytest.fixture(scope="session")
def any_parameters() -> st.SearchStrategy[EncodingParameters]:
    """Of any encoding."""
    return st.one_of(*map(drawn, sorted(ENCODINGS)))


@pytest.fixture(scope="session", params=sorted(ENCODINGS))
def parameters(request: pytest.FixtureRequest) -> st.SearchStrategy[EncodingParameters]:
    """One encoding after the other: whatever is registered is tested."""
    return drawn(request.param)
