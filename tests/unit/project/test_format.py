"""docs/format.md against tests/vectors/core.json and the contract: what the document shows is what is.

An example in the document is a comment that names its values, `<!-- policies.policy -->`, and the indented block
after it; several values are separated by ` | `.
"""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fedchain.core.ledger.records import PAYLOADS, Role
from fedchain.core.rules.judged import Decision
from fedchain.core.rules.policy import Policy
from fedchain.core.strategies.registry import STRATEGIES
from fedchain.core.updates.encodings.registry import ENCODINGS
from fedchain.ledger import mirror, outbox
from fedchain.ledger.artifact import artifact
from fedchain.node import journal
from fedchain.system.database import Schema

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs" / "format.md").read_text()
VECTORS = json.loads((ROOT / "tests" / "vectors" / "core.json").read_text())
EXAMPLES = re.findall(r"^<!-- (.*) -->\n\n((?:    .*\n|\n(?=    ))+)", TEXT, re.MULTILINE)
NAMES = {*VECTORS["blobs"], *VECTORS["policies"]}


def value(path: str) -> Any:
    """What a path names in the vectors; `header.X` is the header's text of the blob X, a file's name its bytes."""
    if path.startswith("tests/"):
        return (ROOT / path).read_bytes()[-104:].hex()  # the one node of the CAR
    first, *rest = path.split(".")
    if first == "header":
        data = bytes.fromhex(VECTORS["blobs"][rest[0]]["hex"])
        return data[8 : 8 + int.from_bytes(data[:8], "little")].rstrip(b" ").decode()
    found = VECTORS[first]
    for key in rest:
        found = found[int(key)] if isinstance(found, list) else found[key]
    return found["text"] if isinstance(found, dict) else found


def same(shown: str, meant: list[Any]) -> bool:
    """Compare a block with the values that it shows: lists by words, hexadecimal digits and text by lines."""
    lines = [line.strip() for line in shown.splitlines() if line.strip()]
    if isinstance(meant[0], list):
        return " ".join(lines).split() == [str(one) for some in meant for one in some]
    if re.fullmatch("[0-9a-f]+", meant[0]):
        return "".join("".join(lines).split()) == "".join(meant)
    return "".join(lines) == "".join(meant)


@pytest.mark.parametrize(("paths", "block"), EXAMPLES, ids=[paths for paths, _ in EXAMPLES])
def test_an_example_is_its_vector(paths: str, block: str) -> None:
    assert same(block, [value(path) for path in paths.split(" | ")])


def test_every_example_has_its_vector() -> None:
    """No JSON and no long row of hexadecimal digits stands alone."""
    blocks = re.findall(r"(<!-- .* -->\n\n)?^((?:    .*\n)+)", TEXT, re.MULTILINE)
    alone = [block for comment, block in blocks if not comment]
    assert not [one for one in alone if re.match(r"\s+\{", one) or re.search("[0-9a-f]{32}", one.replace(" ", ""))]
    assert len(EXAMPLES) >= 14


def test_every_vector_is_mentioned_and_every_name_exists() -> None:
    """`*Vectors:* …` names keys of the file in backticks, blobs and policies in quotation marks."""
    sentences = re.findall(r"\*Vectors:\* ([^.]*?)[.:]\s", TEXT)
    keys = {key for sentence in sentences for key in re.findall(r"`([a-z][a-z0-9_]+)`", sentence)}
    assert keys - {"words", "bytes"} == set(VECTORS)
    quoted = set(re.findall(r'(?<!`)"([^"`{}]+)"(?!`)', " ".join(" ".join(sentences).split())))
    ranges = re.findall(r'"([a-z]+) (\d)" to "\1 (\d)"', TEXT)
    quoted |= {f"{name} {number}" for name, low, high in ranges for number in range(int(low), int(high) + 1)}
    assert quoted == NAMES


def test_events_are_the_contracts() -> None:
    def kind(operand: dict[str, Any]) -> str:
        parts = operand.get("components")
        return f"({','.join(map(kind, parts))})" if parts else operand["type"]

    def line(event: dict[str, Any]) -> str:
        operands = [f"{kind(one)}{' indexed' * one['indexed']} {one['name']}" for one in event["inputs"]]
        return f"    {event['name']}({', '.join(operands)})"

    events = {line(entry) for entry in artifact().abi if entry["type"] == "event"}
    assert events == set(re.findall(r"^    [A-Z]\w+\(address indexed .*\)$", TEXT, re.MULTILINE))


def test_kinds_and_who_may_record_them() -> None:
    rows = re.findall(r"^\| (\d) \| (\w+) \| ([a-z, ]+) \|", TEXT, re.MULTILINE)
    shown = {int(number): (name, who) for number, name, who in rows}
    everybody = Role.GOVERNOR | Role.TRAINER | Role.AGGREGATOR | Role.AUDITOR
    roles = {
        number: "any member" if kind.by == everybody else ", ".join(str(role.name).lower() for role in kind.by)
        for number, kind in PAYLOADS.items()
    }
    assert shown == {number: (kind.__name__, roles[number]) for number, kind in PAYLOADS.items()}


def test_reasons_strategies_encodings_and_keys_of_a_policy() -> None:
    rules = TEXT.split("**Admission.**")[1].split("**Weights.**")[0]
    assert set(re.findall(r"^\| `(\w+)`", rules, re.MULTILINE)) == set(Decision) - {Decision.MERGED}
    assert re.findall(r'^\| `"(\w+)"` \| ', TEXT, re.MULTILINE) == list(STRATEGIES)
    assert set(re.findall(r'^\| `\{.*?"name":"(\w+)"\}`', TEXT, re.MULTILINE)) == set(ENCODINGS)
    policy = TEXT.split("## 4. Policy")[1].split("## 5.")[0]
    keys = {key.split(".")[0] for key in re.findall(r"^\| `([a-z_.]+)` \|", policy, re.MULTILINE)}
    assert keys == set(Policy.model_fields)


def test_local_files_are_as_shown() -> None:
    local = TEXT.split("## 8. On one machine")[1]
    rows = re.findall(r"^\|(.*?)\| `(\w+)`.*? \| (.*) \|$", local, re.MULTILINE)
    shown = {table: re.findall(r"`(\w+)`", columns) for _, table, columns in rows}
    versions = [int(number) for file, _, _ in rows for number in re.findall(r"`user_version` (\d)", file)]
    schemas = [mirror.SCHEMA, outbox.SCHEMA, journal.SCHEMA]
    assert versions == [schema.version for schema in schemas]
    assert shown == {name: columns for schema in schemas for name, columns in tables(schema).items()}


def tables(schema: Schema) -> dict[str, list[str]]:
    """The tables that a schema creates, with their columns."""
    with closing(sqlite3.connect(":memory:")) as database:
        for statement in schema.statements:
            database.execute(statement)
        query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY rowid"
        names = [row[0] for row in database.execute(query)]
        return {name: [row[1] for row in database.execute(f"PRAGMA table_info({name})")] for name in names}
