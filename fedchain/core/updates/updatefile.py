"""Update files: a site's change to one base version, written and read through its encoding.

    update = UpdateFile.open(blob, layout, site, base, policy.encodings)
    q = np.empty(1000, np.int32)
    update.read_into(5000, q)  # elements [5000, 6000) of the layout's one merged vector

Nobody outside knows how the integers are stored: an encoding owns the file's geometry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedchain.core.errors import FormatError
from fedchain.core.formats.layout import Layout, Rule, Slot
from fedchain.core.formats.modelfile import DTYPES, Arrays, data_of
from fedchain.core.ledger.content import Content
from fedchain.core.ledger.records import Address
from fedchain.core.ports import BlobReader, BlobWriter
from fedchain.core.updates import fixed_point
from fedchain.core.updates.encodings.encoding import EncodingParameters
from fedchain.core.updates.encodings.registry import ENCODINGS
from fedchain.core.updates.fixed_point import Q_LIMIT
from fedchain.core.updates.geometry import PROVENANCE_BYTES, Geometry, geometry_of


def update_header(
    layout: Layout, site: Address, base: Content, encoding: EncodingParameters, provenance: bytes | None = None
) -> bytes:
    """Encode the header of a site's update to a base; raises FormatError."""
    if provenance is not None and len(provenance) != PROVENANCE_BYTES:
        raise FormatError(
            f"a provenance of {len(provenance)} bytes is not a sha2-256 digest: it has {PROVENANCE_BYTES}"
        )
    return geometry_of(layout, encoding).header(site, base, provenance)


def update_size(layout: Layout, site: Address, base: Content, encoding: EncodingParameters) -> int:
    """Return the bytes of a site's update to a base; raises FormatError when the encoding cannot hold the layout."""
    del site, base  # whose header words have fixed lengths
    return geometry_of(layout, encoding).size


def update_sizes(
    layout: Layout, site: Address, base: Content, encodings: Sequence[EncodingParameters]
) -> frozenset[int]:
    """Return every size that a site's update to a base can have."""
    sizes = set()
    for encoding in encodings:
        with suppress(FormatError):  # an encoding that cannot hold the layout has no update
            sizes.add(update_size(layout, site, base, encoding))
    return frozenset(sizes)


def write_update(  # noqa: PLR0917 - the words of the header, in the order of every function here
    layout: Layout,
    site: Address,
    base: Content,
    new: Arrays,
    old: Arrays,
    encoding: EncodingParameters,
    out: BlobWriter,
    provenance: bytes | None = None,
) -> Content:
    """Write what training changed: q = rint((new - old) · 2^b) of merged tensors, freshest ones of `new` as they are.

    `new` and `old` hold one array per tensor of the layout, `old` those of the version `base`. `provenance` is the
    sha2-256 digest of a document that the site keeps. Raises FormatError naming the tensor that does not fit, and
    then leaves nothing.
    """

    def change(slot: Slot) -> NDArray[np.int32]:
        trained = _shaped(slot, new).astype(np.float32, copy=False)
        return fixed_point.encode(trained, _shaped(slot, old).astype(np.float32, copy=False), slot.bits)

    return _write(layout, update_header(layout, site, base, encoding, provenance), encoding, change, new, out=out)


def write_integers(  # noqa: PLR0917 - as write_update
    layout: Layout,
    site: Address,
    base: Content,
    arrays: Arrays,
    encoding: EncodingParameters,
    out: BlobWriter,
    provenance: bytes | None = None,
) -> Content:
    """Write an update from its integers: int32 for each merged tensor, freshest ones as they are, all by name.

    What a lossy encoding stores decodes to the nearest integers that it has. Raises as `write_update`.
    """

    def integers(slot: Slot) -> NDArray[np.int32]:
        q = _shaped(slot, arrays)
        if q.dtype != np.int32 or q.min(initial=0) < -Q_LIMIT:
            raise FormatError(f"{q.dtype} from {q.min(initial=0)} on: int32 within ±{Q_LIMIT} can be merged")
        return np.ascontiguousarray(q).reshape(-1)

    return _write(layout, update_header(layout, site, base, encoding, provenance), encoding, integers, arrays, out=out)


@dataclass(frozen=True, slots=True)
class UpdateFile:
    """An opened update, whose header is the one that layout, site, base and encoding imply."""

    blob: BlobReader
    encoding: EncodingParameters
    provenance: bytes | None
    """sha2-256 digest of a document that the site keeps; None where it names none."""
    _geometry: Geometry

    @classmethod
    def open(
        cls,
        blob: BlobReader,
        layout: Layout,
        site: Address,
        base: Content,
        encodings: Sequence[EncodingParameters],
    ) -> UpdateFile:
        """Open a site's update to a base in one of the encodings; raises FormatError when it is not one, Corrupt."""
        for encoding in encodings:
            with suppress(FormatError):  # an encoding that cannot hold the layout has no update
                geometry = geometry_of(layout, encoding)
                if blob.size == geometry.size:
                    header = blob.read(0, len(geometry.template))
                    provenance = geometry.provenance(header)
                    if header == geometry.header(site, base, provenance):
                        return cls(blob, encoding, provenance, geometry)
        names = ", ".join(encoding.canonical().decode() for encoding in encodings)
        raise FormatError(
            f"{blob.size} bytes are not the update of {site} to {base.cid} in the layout {layout.digest} "
            f"and one of the encodings {names}"
        )

    def read_into(self, start: int, out: NDArray[np.int32]) -> None:
        """Decode merged elements [start, start + len(out)) of the layout's one merged vector; `out` is contiguous.

        Safe from several threads. Raises FormatError at a stored value without meaning, Corrupt.
        """
        decode, parts = ENCODINGS[self.encoding.name].decode, self._geometry.parts
        index, done = self._geometry.part(start), 0
        while done < out.size:
            part, first = parts[index], start + done
            run = out[done : done + part.stop - first]
            decode(self.encoding, self.blob, part.stored, first - part.start, run)
            done += run.size
            index += 1

    def freshest(self, chunk: int) -> Iterator[bytes]:
        """Yield the bytes of the freshest tensors, at most `chunk` at a time."""
        for offset in range(self._geometry.freshest, self._geometry.size, chunk):
            yield self.blob.read(offset, min(chunk, self._geometry.size - offset))


def _write(
    layout: Layout,
    header: bytes,
    encoding: EncodingParameters,
    integers: Callable[[Slot], NDArray[np.int32]],
    freshest: Arrays,
    *,
    out: BlobWriter,
) -> Content:
    encode = ENCODINGS[encoding.name].encode
    try:
        out.write(header)
        for slot in layout.slots:
            try:
                if slot.rule is Rule.MERGED:
                    for stored in encode(encoding, integers(slot)):
                        out.write(data_of(stored))
                elif slot.rule is Rule.FRESHEST:
                    out.write(data_of(_whole_numbers(slot, freshest)))
            except FormatError as error:
                raise FormatError(f"tensor {slot.tensor.name}: {error}") from error
        return out.commit()
    finally:
        out.abort()


def _shaped(slot: Slot, arrays: Arrays) -> NDArray[Any]:
    array = arrays.get(slot.tensor.name)
    if array is None or array.shape != slot.tensor.shape:
        found = "nothing" if array is None else f"shape {array.shape}"
        raise FormatError(f"the layout has shape {slot.tensor.shape}, the update {found}")
    return array


def _whole_numbers(slot: Slot, arrays: Arrays) -> NDArray[Any]:
    array = _shaped(slot, arrays)
    if array.dtype != DTYPES.get(slot.tensor.dtype):
        raise FormatError(f"the layout has {slot.tensor.dtype}, the update {array.dtype}")
    return array
