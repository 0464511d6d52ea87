"""The oracle's formats against those who wrote them: npm's importer, the package rfc8785, RFC 8785's own examples."""

from __future__ import annotations

import ast
import json
import math
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle.formats import CHUNK, canonical, cid, digest, parse, root

FOLDER = Path(__file__).parent
UNIXFS = json.loads((FOLDER.parent / "vectors" / "unixfs.json").read_text())

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
).filter(lambda value: not (isinstance(value, float) and math.isinf(value)))


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1.0, "1"), (0.6, "0.6"), (-0.0, "0"), (1e21, "1e+21"), (1e20, "100000000000000000000"), (1e-6, "0.000001"),
        (1e-7, "1e-7"), (1.5e300, "1.5e+300"), (5e-324, "5e-324"), (333333333.3333332, "333333333.3333332"),
        (9007199254740994.0, "9007199254740994"), (-1.25, "-1.25"), (65536, "65536"),
    ],
)  # fmt: skip
def test_numbers(number: float, text: str) -> None:
    assert canonical(number) == text.encode() == rfc8785.dumps(number)


@given(VALUES)
@settings(deadline=None)
def test_json_is_rfc_8785(value: Any) -> None:
    try:
        expected = rfc8785.dumps(value)
    except (rfc8785.FloatDomainError, UnicodeEncodeError, rfc8785.CanonicalizationError):
        return
    assert canonical(value) == expected
    assert canonical(parse(expected)) == expected


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff", b'{"b":1,"a":2}', b'{"a":1,"a":1}', b"1.0", b"[1, 2]", b"NaN", b"-0", b'"\\u0041"', b"[" * 9**5],
)
def test_json_in_another_form_is_none(data: bytes) -> None:
    assert parse(data) is None


@pytest.mark.parametrize("blob", UNIXFS, ids=lambda blob: str(blob["size"]))
def test_names_are_the_reference_importers(blob: dict[str, Any]) -> None:
    """Byte i of each blob is i mod 251; of the largest one, only one chunk at a time is in memory."""
    size, pattern = blob["size"], bytes(range(251)) * ((CHUNK >> 7) + 2)
    starts = range(0, max(size, 1), CHUNK)
    chunks = (pattern[start % 251 :][: min(CHUNK, size - start)] for start in starts)
    assert cid(root((sha256(chunk).digest(), len(chunk)) for chunk in chunks), size) == blob["cid"]


def test_a_blob_in_memory_is_named_likewise() -> None:
    blob = next(one for one in UNIXFS if one["size"] == CHUNK + 1)
    assert cid(digest(bytes(i % 251 for i in range(CHUNK + 1))), CHUNK + 1) == blob["cid"]


def test_it_shares_no_code_with_what_it_checks() -> None:
    """Only compare.py, which brings the two together, knows fedchain."""
    found = {}
    for path in FOLDER.rglob("*.py"):
        modules = [
            node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        names = {name for node in modules for name in _names(node)}
        found[path.name] = "fedchain" in names
    assert {name for name, imports in found.items() if imports and not name.startswith("test_")} <= {"compare.py"}


def test_it_is_small() -> None:
    assert len((FOLDER / "federation.py").read_text().splitlines()) < 300


def _names(node: ast.Import | ast.ImportFrom) -> set[str]:
    names = [one.name for one in node.names] if isinstance(node, ast.Import) else [node.module or ""]
    return {name.split(".")[0] for name in names}
