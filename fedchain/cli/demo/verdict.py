"""What a sceptic wants to see at the end of a demonstration."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from fedchain.cli.demo.play import Metrics, Result


def show_result(result: Result, console: Console) -> None:
    """Print the comparison, the ledger's figures, the audit's verdict, and where to look further."""
    console.print(_comparison(result))
    console.print(_figures(result))
    style = "green" if result.clean else "bold red"
    console.print(f"audit: {result.audit['verdict']}", style=style, markup=False, highlight=False)
    where = f"{result.folder}/, the chain's state in {result.folder}/devnet/"
    console.print(
        f"\n{result.seconds:.0f} s in all. Everything is in {where}.\nTo look further, with the chain up again:"
    )
    for command in _commands(result):
        console.print(f"  {command}", markup=False, highlight=False)


def _comparison(result: Result) -> Table:
    table = Table(title="On data that nobody trained on")
    table.add_column("model")
    table.add_column("accuracy", justify="right")
    table.add_column("AUC", justify="right")
    table.add_row("federated", *_cells(result.federated), style="bold")
    table.add_row("pooled data", *_cells(result.pooled))
    for site, metrics in result.alone.items():
        table.add_row(f"{site} alone", *_cells(metrics))
    mean = sum(metrics["accuracy"] for metrics in result.alone.values()) / len(result.alone)
    table.add_row("a hospital alone, mean", f"{mean:.3f}", "")
    return table


def _cells(metrics: Metrics) -> list[str]:
    return [f"{metrics[name]:.3f}" if name in metrics else "-" for name in ("accuracy", "auc")]


def _figures(result: Result) -> Table:
    table = Table(show_header=False, box=None)
    decisions = result.audit["decisions"]
    rejected = {reason: count for reason, count in decisions.items() if reason != "merged"}
    reasons = ", ".join(f"{count} {reason}" for reason, count in rejected.items())
    rows = {
        "versions": f"{result.versions} after genesis",
        "updates": f"{decisions.get('merged', 0)} merged, {sum(rejected.values())} rejected"
        + (f" ({reasons})" if reasons else ""),
        "mean staleness": f"{result.mean_staleness:.2f}",
        "records on the ledger": str(result.audit["records"]),
        "gas per update": f"{result.gas_per_update:,.0f}",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _commands(result: Result) -> list[str]:
    program = Path(sys.executable).with_name("fedchain")
    program = program.relative_to(Path.cwd()) if program.is_relative_to(Path.cwd()) else program
    evidence = f"--federation {result.federation} --blobs {result.folder}/aggregator/state/blobs"
    return [
        f"{program} devnet up --folder {result.folder}/devnet",
        f"{program} audit verify {evidence}",
        f"{program} audit versions {evidence}",
        f"{program} audit show v{result.versions} {evidence}",
    ]
