"""How commands print: tables for people, JSON and CSV for programs."""

from __future__ import annotations

import csv as csv_format
import json as json_format
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table


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
    """Print rows with the same keys: as a table, a JSON array, or CSV with a header."""
    if json:
        _json(rows)
    elif csv:
        _csv(rows)
    elif not rows:
        print("nothing" if title is None else f"{title}: nothing")
    else:
        made = Table(box=SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
        for key in rows[0]:
            numeric = all(isinstance(row[key], int | float | None) for row in rows)
            made.add_column(key.replace("_", " "), justify="right" if numeric else "left", overflow="fold")
        for row in rows:
            made.add_row(*map(_cell, row.values()))
        console = Console(markup=False, highlight=False)
        if not console.is_terminal:  # a file or pipe has no width: nothing is folded
            console.width = max(console.width, console.measure(made).maximum)
        console.print(made)


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
