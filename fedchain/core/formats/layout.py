"""The layout of a model: which tensors, in which order, and how each one is carried from version to version.

    header | merged tensors, F32 | freshest tensors | kept tensors

The layout stands in the header of the model file itself, and that header is the same bytes in every version.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Final

import rfc8785
from pydantic_core import from_json

from fedchain.core.errors import FormatError
from fedchain.core.formats.tensors import Tensor, decode_header, encode_header, read_header
from fedchain.core.ports import BlobReader

MODEL_FORMAT: Final = "fedchain/model/1"

ITEM: Final = 4
"""Bytes of a merged element of a model, which is float32."""

DEFAULT_BITS: Final = 24
MAX_BITS: Final = 30


class Rule(StrEnum):
    """How a tensor gets from one version to the next."""

    MERGED = "merged"
    """Float32, summed in fixed point."""
    FRESHEST = "freshest"
    """Whole numbers, taken as they are from the admitted update with the newest base (the later one of equals)."""
    KEPT = "kept"
    """As genesis has it: tables and masks."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One tensor of the model and its rule."""

    tensor: Tensor
    rule: Rule
    bits: int = 0
    """Fraction bits of a merged tensor: its changes are multiples of 2^-bits in ±2^(31-bits)."""


@dataclass(frozen=True, slots=True)
class Span:
    """Neighbouring merged elements with the same number of fraction bits."""

    start: int
    stop: int
    bits: int


@dataclass(frozen=True)
class Layout:
    """The slots of a model in file order: merged, freshest, kept."""

    slots: tuple[Slot, ...]

    def __post_init__(self) -> None:
        order = list(Rule)
        ranks = [order.index(slot.rule) for slot in self.slots]
        if ranks != sorted(ranks):
            raise FormatError("the model's tensors are out of order: merged first, then freshest, then kept")
        for slot in self.slots:
            _check(slot)

    @cached_property
    def elements(self) -> int:
        """Number of merged elements."""
        return sum(slot.tensor.elements for slot in self.slots if slot.rule is Rule.MERGED)

    @cached_property
    def spans(self) -> tuple[Span, ...]:
        """Merged elements grouped by fraction bits."""
        spans: list[Span] = []
        start = 0
        for slot in self.slots:
            if slot.rule is Rule.MERGED and slot.tensor.elements:
                stop = start + slot.tensor.elements
                if spans and spans[-1].bits == slot.bits:
                    spans[-1] = Span(spans[-1].start, stop, slot.bits)
                else:
                    spans.append(Span(start, stop, slot.bits))
                start = stop
        return tuple(spans)

    @cached_property
    def freshest_bytes(self) -> int:
        """Bytes of the tensors that are taken as they are."""
        return sum(slot.tensor.nbytes for slot in self.slots if slot.rule is Rule.FRESHEST)

    @cached_property
    def model_header(self) -> bytes:
        """The header of every version's file."""
        rules = {slot.tensor.name: slot.bits or str(slot.rule) for slot in self.slots}
        metadata = {"format": MODEL_FORMAT, "layout": rfc8785.dumps(rules).decode()}
        return encode_header([slot.tensor for slot in self.slots], metadata)

    @cached_property
    def model_size(self) -> int:
        """Bytes of a model file."""
        return len(self.model_header) + sum(slot.tensor.nbytes for slot in self.slots)

    @cached_property
    def digest(self) -> str:
        """sha2-256 of the model header, in hexadecimal: what an update says it was made for."""
        return hashlib.sha256(self.model_header).hexdigest()


def plan_layout(tensors: Sequence[Tensor], rules: Mapping[str, int | Rule] | None = None) -> Layout:
    """Lay out a model: float32 tensors are merged with 24 fraction bits, all others freshest, unless `rules` say.

    A rule is a number of fraction bits, or Rule.FRESHEST or Rule.KEPT. Raises FormatError.
    """
    rules = dict(rules or {})
    slots = []
    for tensor in tensors:
        rule = rules.pop(tensor.name, DEFAULT_BITS if tensor.dtype == "F32" else Rule.FRESHEST)
        slots.append(Slot(tensor, rule) if isinstance(rule, Rule) else Slot(tensor, Rule.MERGED, rule))
    if rules:
        raise FormatError(f"rules for tensors that the model does not have: {', '.join(sorted(rules))}")
    order = list(Rule)
    return Layout(tuple(sorted(slots, key=lambda slot: order.index(slot.rule))))


def read_layout(model: BlobReader) -> Layout:
    """Read the layout from a model file and check the file's length; raises FormatError."""
    header = read_header(model)
    tensors, metadata = decode_header(header)
    if metadata.get("format") != MODEL_FORMAT:
        raise FormatError(
            f"this is not a model of fedchain: its format is {metadata.get('format')!r}, not {MODEL_FORMAT!r}"
        )
    try:
        rules = {
            name: rule if type(rule) is int else Rule(rule) for name, rule in from_json(metadata["layout"]).items()
        }
    except (ValueError, KeyError, AttributeError) as error:
        raise FormatError(f"the model's layout cannot be read: {error!r}") from error
    layout = plan_layout(tensors, rules)
    if layout.model_header != header:
        raise FormatError("the model's header is not the one that its own layout implies")
    if layout.model_size != model.size:
        raise FormatError(f"the model has {model.size} bytes where its header promises {layout.model_size}")
    return layout


def _check(slot: Slot) -> None:
    if slot.rule is Rule.FRESHEST and "F" in slot.tensor.dtype:
        raise FormatError(
            f"tensor {slot.tensor.name} is {slot.tensor.dtype}: only whole numbers can be taken as they are; "
            "cast it to float32 in the task, so that it is merged, or give it the rule kept"
        )
    if slot.rule is not Rule.MERGED:
        return
    if slot.tensor.dtype != "F32":
        raise FormatError(
            f"tensor {slot.tensor.name} is {slot.tensor.dtype}: only F32 can be merged; "
            "cast it to float32 in the task, or give it the rule kept"
        )
    if not 1 <= slot.bits <= MAX_BITS:
        raise FormatError(f"tensor {slot.tensor.name} has {slot.bits} fraction bits: 1 to {MAX_BITS} are allowed")
