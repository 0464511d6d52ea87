"""How commands print: tables for people, JSON and CSV for programs."""

from __future__ import annotations

import csv as csv_format
import json as json_format
import sys
from collections.abc import Mapping, Sequence
from shutil import get_terminal_size
from typing import Any, Final

LONG: Final = 20
"""Characters of a word that stays whole in a table that is too wide for its terminal."""


def show(values: Mapping[str, Any], *, json: bool = False, csv: bool = False) -> None:
    """Print one thing: a line for every key, one JSON object, or a CSV header and row."""
    if json:
        _json(values)
    elif csv:
        _csv([values])
    else:
        width = max(map(len, values), default=0)
        for key, value in values.items():
            print(f"{key:{width}}  {_cell(value)}")


def table(
    rows: Sequence[Mapping[str, Any]], *, json: bool = False, csv: bool = False, title: str | None = None
) -> None:
    """Print rows with the same keys: as a table, a JSON array, or CSV with a header.

    Where the terminal is too narrow, CIDs and addresses are shortened; a pipe gets them whole.
    """
    if json:
        _json(rows)
    elif csv:
        _csv(rows)
    else:
        if title is not None:
            print(f"\n{title}")
        _print(rows)


def _print(rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        print("none")
        return
    cells = [[key.replace("_", " ") for key in rows[0]], *([_cell(value) for value in row.values()] for row in rows)]
    if sys.stdout.isatty() and sum(_widths(cells)) + 2 * len(cells[0]) > get_terminal_size().columns:
        cells = [[_shortened(cell) for cell in line] for line in cells]
    is_number = [all(isinstance(row[key], int | float | None) for row in rows) for key in rows[0]]
    widths = _widths(cells)
    for line in (cells[0], ["-" * width for width in widths], *cells[1:]):
        aligned = zip(line, widths, is_number, strict=True)
        print("  ".join(f"{cell:>{width}}" if right else f"{cell:{width}}" for cell, width, right in aligned).rstrip())


def _widths(cells: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*cells, strict=True)]


def _shortened(cell: str) -> str:
    return cell if len(cell) <= LONG or " " in cell else f"{cell[:8]}…{cell[-6:]}"


def _json(value: object) -> None:
    print(json_format.dumps(value, indent=2, ensure_ascii=False, default=str))


def _csv(rows: Sequence[Mapping[str, Any]]) -> None:
    writer = csv_format.DictWriter(sys.stdout, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return json_format.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)
