"""`fedchain audit`: verify a federation and query its ledger."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bars

from fedchain.audit.evidence import Where, query_evidence, verify_evidence
from fedchain.audit.findings import Findings
from fedchain.audit.progress import Progress, quiet
from fedchain.audit.questions import Questions
from fedchain.audit.report import Report
from fedchain.cli.evidence import takes_evidence
from fedchain.cli.options import Json, example
from fedchain.cli.output import show, table
from fedchain.core.errors import ConfigError

app = typer.Typer(help="Verify a federation and query its ledger.", no_args_is_help=True)

Csv = Annotated[bool, typer.Option("--csv", help="Print CSV, for spreadsheets.")]


@app.command(
    short_help="Check everything and recompute every version.",
    epilog=example(
        "fedchain audit verify --blobs aggregator/state/blobs --blobs hospital-1/state/blobs",
        "fedchain audit verify --offline --mirror aggregator/state/ledger.sqlite --blobs aggregator/state/blobs",
    ),
)
@takes_evidence
def verify(
    where: Where,
    threads: Annotated[int, typer.Option("--threads", metavar="N", min=1, help="Threads that recompute models.")] = 1,
    json: Json = False,
    csv: Csv = False,
) -> None:
    """Check records, contents and manifests and recompute every version.

    Exit codes: 0 clean, 1 findings, 2 something could not be checked.
    """
    with _progress(is_shown=not (json or csv)) as progress:
        report = asyncio.run(verify_evidence(where, progress=progress, threads=threads))
    if json:
        show(report.as_json(), json=True)
    elif csv:
        table(report.as_rows(), csv=True)
    else:
        _print_report(report)
    raise typer.Exit(report.exit_code)


@app.command(
    short_help="List the versions.", epilog=example("fedchain audit versions --blobs aggregator/state/blobs --csv")
)
@takes_evidence
def versions(
    where: Where,
    json: Json = False,
    csv: Csv = False,
) -> None:
    """List the versions: who published them when, and what they consumed."""
    table(_questions(where).versions(), json=json, csv=csv)


@app.command(
    short_help="List the updates, and what became of each.",
    epilog=example("fedchain audit updates --blobs aggregator/state/blobs --decision too_stale"),
)
@takes_evidence
def updates(
    where: Where,
    site: Annotated[
        str | None, typer.Option("--site", metavar="0x…", help="Only of sites whose address begins so.")
    ] = None,
    version: Annotated[
        int | None, typer.Option("--version", metavar="N", help="Only those that this version consumed.")
    ] = None,
    decision: Annotated[
        str | None, typer.Option("--decision", metavar="NAME", help="Only these: merged, too_stale, waiting…")
    ] = None,
    json: Json = False,
    csv: Csv = False,
) -> None:
    """List the updates: who submitted them when, and what became of each."""
    found = _questions(where).updates(site=site, version=version, decision=decision)
    table(found, json=json, csv=csv)


@app.command(
    "show",
    short_help="Show one record or one version.",
    epilog=example("fedchain audit show 17", "fedchain audit show v3 --blobs aggregator/state/blobs"),
)
@takes_evidence
def show_one(
    where: Where,
    what: Annotated[str, typer.Argument(metavar="SEQ|VERSION", help="17 for record 17, v3 for version 3.")],
    json: Json = False,
    csv: Csv = False,
) -> None:
    """Show one record, or one version with what became of each update."""
    number = what.removeprefix("v")
    if not number.isdecimal():
        raise ConfigError(f"{what} is neither a record, as in 17, nor a version, as in v3")
    questions = _questions(where)
    if number == what:
        show(questions.record(int(number)), json=json, csv=csv)
        return
    row, lines = questions.version(int(number))
    if json:
        show(row | {"updates": lines}, json=True)
    elif csv:
        table(lines, csv=True)
    else:
        show(row)
        table(lines, title="updates")


def _questions(where: Where) -> Questions:
    """Read records and manifests; what is wrong with them goes to standard error."""
    findings = Findings()
    questions = asyncio.run(query_evidence(where, findings))
    for one in [*findings.found, *findings.unchecked]:
        print(f"fedchain: {one}", file=sys.stderr)
    return questions


@contextmanager
def _progress(*, is_shown: bool) -> Iterator[Progress]:
    """Show how far the audit is on standard error, where that is a terminal."""
    console = Console(stderr=True)
    if not (is_shown and console.is_terminal):
        yield quiet
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Bars(*columns, console=console, transient=True) as bars:
        task = bars.add_task("records", total=None)

        def tell(step: str, done: int, total: int) -> None:
            bars.update(task, description=step, completed=done, total=total)

        yield tell


def _print_report(report: Report) -> None:
    """Print what was found, the figures, and the verdict."""
    for finding in report.findings:
        print(f"FINDING  {finding}")
        for key, value in finding.evidence.items():
            print(f"         {key}: {value}")
    for gap in report.unchecked:
        print(f"NOT CHECKED  {gap}")
    for note in report.notes:
        print(f"NOTE  {note}")
    if report.findings or report.unchecked or report.notes:
        print()
    merged, rejected = report.decisions.get("merged", 0), {k: v for k, v in report.decisions.items() if k != "merged"}
    reasons = f" ({', '.join(f'{reason} {count}' for reason, count in rejected.items())})" if rejected else ""
    at = f" at block {report.block}" if report.block is not None else ""
    show(
        {
            "ledger": f"{report.federation.contract} on chain {report.federation.chain_id}",
            "records": f"{report.records}, the last one{at}",
            "head": f"0x{report.head.hex()}, compared with {report.proof or 'nothing'}",
            "blobs": f"{report.blobs} whole",
            "versions": f"{report.versions}, {report.recomputed} recomputed bit for bit, the first one is an input",
            "updates": f"{merged} merged, {sum(rejected.values())} rejected{reasons}",
            "findings": len(report.findings),
        }
    )
    print(f"\n{report.verdict}")
