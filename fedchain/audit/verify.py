"""`fedchain audit verify`: everything that a federation published, judged again by a program that trusts none of it."""

from __future__ import annotations

from collections.abc import Sequence

from fedchain.audit.authority import check_authority, contents_of
from fedchain.audit.chain import Copy
from fedchain.audit.contents import Contents
from fedchain.audit.findings import Findings
from fedchain.audit.progress import Progress, quiet
from fedchain.audit.records import Reading, read
from fedchain.audit.report import Report
from fedchain.audit.sources import Source
from fedchain.audit.versions import Tally, Versions
from fedchain.core.ledger.content import Content
from fedchain.core.ledger.records import Federation, Head, ModelPublished, Record, UpdateSubmitted
from fedchain.core.ports import Ledger, Store
from fedchain.core.rules.history import History


async def verify(
    federation: Federation,
    *,
    sources: Sequence[Source],
    fallback: Store,
    copy: Copy | None = None,
    ledger: Ledger | None = None,
    head: Head | None = None,
    progress: Progress = quiet,
    threads: int = 1,
) -> Report:
    """Check records, contents, authority, manifests and results, and say what is wrong with which evidence.

    Records come from `ledger`, or from `copy` alone where there is none, whose last head is then compared with
    `head`. Blobs come from `sources`, those that none has whole from `fallback`. Nothing is raised for what an
    audit is there to find.
    """
    findings = Findings()
    progress("records", 0, 1)
    reading = await read(federation, copy=copy, ledger=ledger, given=head, findings=findings)
    records, erased = check_authority(reading.records, findings)
    contents = Contents(sources, fallback, findings)
    history = History(federation)
    for record in records:
        history.append(record)
    for record, reason in history.ignored:
        findings.note(f"record {record.seq}", f"has no effect: {reason}")
    ignored = {record.seq for record, _ in history.ignored}
    named = _named([record for record in records if record.seq not in ignored])
    await _check_contents(named, contents, erased, findings, progress)
    versions = Versions(
        history, contents=contents, erased=erased, findings=findings, progress=progress, threads=threads
    )  # fmt: skip
    return _report(federation, reading, await versions.run(), contents.checked, findings)


def _report(federation: Federation, reading: Reading, tally: Tally, blobs: int, findings: Findings) -> Report:
    last = reading.records[-1].place if reading.records else None
    return Report(
        federation=federation,
        records=len(reading.records),
        head=reading.head,
        proof=reading.proof,
        block=last.block if last else None,
        blobs=blobs,
        versions=tally.judged,
        recomputed=tally.recomputed,
        decisions={str(decision): count for decision, count in sorted(tally.decisions.items())},
        findings=tuple(findings.found),
        unchecked=tuple(findings.unchecked),
        notes=tuple(findings.notes),
    )


async def _check_contents(
    named: dict[Content, tuple[str, bool]],
    contents: Contents,
    erased: frozenset[Content],
    findings: Findings,
    progress: Progress,
) -> None:
    """Hash every blob that a record with an effect names, wherever it lies."""
    missing = []
    for done, (content, (subject, is_needed)) in enumerate(named.items()):
        progress("blobs", done, len(named))
        if not await contents.check(content, subject) and content not in erased and not is_needed:
            missing.append(f"{subject} ({content.cid})")
    if missing:
        findings.note("blobs", f"not available, and needed for no version: {', '.join(missing)}")


def _named(records: Sequence[Record]) -> dict[Content, tuple[str, bool]]:
    """Name every content by the first record that carries it, and tell whether versions are judged by it."""
    consumed = max(
        (record.payload.through for record in records if isinstance(record.payload, ModelPublished)), default=0
    )
    named: dict[Content, tuple[str, bool]] = {}
    for record in records:
        for field, content in contents_of(record).items():
            match record.payload:
                case ModelPublished(version=version):
                    subject, is_needed = f"{field} of version {version}", True
                case UpdateSubmitted():
                    subject, is_needed = f"update of record {record.seq}", record.seq <= consumed
                case _:
                    subject, is_needed = f"{field} of record {record.seq}", False
            named.setdefault(content, (subject, is_needed))
    return named
