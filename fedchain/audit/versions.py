"""The versions: each one judged by its records, its manifest and its bytes, and computed again."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from fedchain.audit.contents import Contents
from fedchain.audit.findings import Findings, Rule
from fedchain.audit.formatting import version_evidence
from fedchain.audit.judge import Facts, Judge, Rejudge
from fedchain.audit.progress import Progress
from fedchain.audit.results import difference, missing, result_of
from fedchain.core.errors import FedchainError, FormatError, Unavailable
from fedchain.core.formats.layout import Layout, read_layout
from fedchain.core.ledger.content import Content
from fedchain.core.ledger.records import Record, Seq, UpdateSubmitted
from fedchain.core.rules.admission import Decision, Inspection
from fedchain.core.rules.history import BufferState, History, Published
from fedchain.core.rules.manifest import Manifest, manifest_of
from fedchain.core.rules.plan import Plan
from fedchain.core.rules.policy import Policy
from fedchain.replica.recompute import inspect_record, plan_again

UNPROVEN: Final = frozenset({Decision.MALFORMED, Decision.OUT_OF_RANGE, Decision.NORM_BOUND})
"""Rejections that only the content proves."""


@dataclass(slots=True)
class Tally:
    """What the judged versions consist of."""

    judged: int = 0
    recomputed: int = 0
    """Versions that came out bit for bit, genesis not counted: it is an input."""
    decisions: dict[Decision, int] = field(default_factory=dict)
    """Updates consumed, by what became of them."""


class Versions:
    """The published versions of a federation under audit."""

    def __init__(
        self,
        history: History,
        *,
        contents: Contents,
        erased: frozenset[Content],
        findings: Findings,
        progress: Progress,
        threads: int,
    ) -> None:
        self.history = history
        self.contents = contents
        self.erased = erased
        self.findings = findings
        self.progress = progress
        self.threads = threads
        self.tally = Tally()
        self.layout: Layout | None = None
        self._inspections: dict[Seq, Inspection] = {}
        """What the auditor found in contents."""

    async def run(self) -> Tally:
        """Judge every version in order."""
        await self._read_layout()
        for version in self.history.published:
            self.progress("versions", version.version, len(self.history.published))
            try:
                manifest = await self._version(version)
                self.history.apply(manifest)
                self._forget(version)
            except FedchainError as error:
                self.findings.skip(f"versions from {version.version} on", str(error))
                return self.tally
            self.tally.judged += 1
        await self._look_ahead()
        return self.tally

    async def _version(self, version: Published) -> Manifest | None:
        """Judge one version; returns the manifest to go on from, None where its bytes are none."""
        before = len(self.findings.found)
        stated, is_missing = await self._manifest(version)
        if version.version == 0:
            if stated is not None:
                Judge(self.history, version, stated, self.findings).judge_genesis()
            return stated
        subject = f"version {version.version}"
        if self.layout is None:
            self.findings.skip(subject, "not recomputed: the model's layout is unknown, as no model can be read")
            return stated
        facts = {} if stated is None else await self._facts(version, stated)
        if stated is None:
            state = await self._rejudge(version)(facts)
        else:
            state = await Judge(self.history, version, stated, self.findings).judge(facts, self._rejudge(version))
        plan = state.plan
        if plan is not None:
            for entry in plan.entries:
                self.tally.decisions[entry.decision] = self.tally.decisions.get(entry.decision, 0) + 1
            self._check_rejections(subject, plan)
        await self._result(version, stated, plan, before, is_certain=stated is not None or not is_missing)
        return manifest_of(self.history.federation, plan, version.claim.model) if is_missing and plan else stated

    async def _result(
        self, version: Published, stated: Manifest | None, plan: Plan | None, before: int, *, is_certain: bool
    ) -> None:
        """Compute a version again and report a model that is another; findings about it from `before` on."""
        subject, published, layout = f"version {version.version}", version.claim.model, self.layout
        assert layout is not None
        expected = None
        if plan is not None:
            lacking = await missing(plan, self.contents)
            for content, what in lacking.items():
                self._lacking(subject, what, content)
            if lacking:
                return
            expected = await result_of(plan, layout, self.contents, self.threads)
        if expected == published:
            self.tally.recomputed += 1
            self._add_to_findings(before, "what ledger and content make, all the same")
        elif not is_certain:
            self.findings.skip(subject, "comes out otherwise, but the manifest that may say why is missing")
        elif len(self.findings.found) > before and stated and await self._is_made_as_stated(version, stated):
            self._add_to_findings(before, f"made as the manifest states; ledger and content make {_cid(expected)}")
        elif plan is not None and expected is not None:
            digests = {"digest": published.digest.hex(), "expected_digest": expected.digest.hex()}
            where = await difference(plan, layout, published, self.contents)
            stated_model, made = f"model {published.cid}", version_evidence(version)
            self.findings.find(Rule.VERSION_RESULT, subject, stated_model, expected.cid, made, digests, where)

    async def _is_made_as_stated(self, version: Published, stated: Manifest) -> bool:
        assert self.layout is not None
        if stated.parent is None or stated.policy is None:
            return False
        try:
            plan = plan_again(stated, self.history)
            return await result_of(plan, self.layout, self.contents, self.threads) == version.claim.model
        except (FedchainError, LookupError):
            return False  # what it states cannot be merged at all

    def _add_to_findings(self, before: int, model: str) -> None:
        """Say in a version's findings what they mean for its model."""
        findings = self.findings.found
        findings[before:] = [replace(one, evidence={**one.evidence, "model": model}) for one in findings[before:]]

    def _rejudge(self, version: Published) -> Rejudge:
        async def buffer_state(facts: Facts) -> BufferState:
            return await self._buffer_state(facts, version.claim.through)

        return buffer_state

    async def _buffer_state(self, facts: Facts, through: Seq) -> BufferState:
        """Judge the open buffer, inspecting contents as they are needed."""
        while True:
            state = self.history.buffer_state(self._inspections | dict(facts))
            wanted = [record for record in state.to_inspect if record.seq <= through] or state.to_inspect[:1]
            if not wanted:
                return state
            for record in wanted:
                self._inspections[record.seq] = await self._inspect(record, state.policy)

    async def _inspect(self, record: Record, policy: Policy) -> Inspection:
        assert self.layout is not None
        norm = policy.admission.max_norm is not None
        return await inspect_record(record, self.history, self.layout, self.contents, norm=norm)

    async def _facts(self, version: Published, stated: Manifest) -> dict[Seq, Inspection]:
        """Take from a manifest what only it can say: which updates nobody gave, and what those hold that are gone."""
        facts, inspections = {}, stated.inspections
        policy = self.history.policy(self.history.published[version.version - 1].consumed)[2]
        updates = {record.seq: record for record in self.history.tail if isinstance(record.payload, UpdateSubmitted)}
        for line in stated.updates:
            record, found = updates.get(Seq(line.seq)), inspections.get(Seq(line.seq))
            if record is None or found is None:
                continue
            is_here = await self.contents.check(_update(record).content, f"update of record {line.seq}")
            if line.decision is Decision.UNAVAILABLE:
                facts[record.seq] = found
                if is_here:
                    subject = f"version {version.version}, update {line.seq}"
                    self.findings.note(subject, "stated unavailable, which need not be wrong: it can be read now")
            elif not is_here and (await self._inspect(record, policy)).failure is Decision.UNAVAILABLE:
                needs_norm = policy.admission.max_norm is not None
                facts[record.seq] = replace(found, norm2=found.norm2 or 0) if needs_norm else found
        return facts

    def _check_rejections(self, subject: str, plan: Plan) -> None:
        """Name rejections that rest on a content that no peer has."""
        for entry in plan.entries:
            if entry.decision in UNPROVEN and entry.inspection not in (None, self._inspections.get(entry.seq)):
                self._lacking(subject, f"update {entry.seq}, rejected as {entry.decision},", entry.content)

    async def _read_layout(self) -> None:
        """Read the model's layout from the first version that can be read: all share it."""
        for version in self.history.published:
            try:
                self.layout = read_layout(await self.contents.fetch(version.claim.model))
                return
            except Unavailable:
                continue
            except FormatError as error:
                subject = f"model of version {version.version}"
                self.findings.find(Rule.GENESIS, subject, error, "a model", version_evidence(version))
                return

    async def _manifest(self, version: Published) -> tuple[Manifest | None, bool]:
        """Read a version's manifest; tells beside it whether it is missing, rather than not a manifest."""
        content, subject = version.claim.manifest, f"version {version.version}"
        try:
            return Manifest.parse(await self.contents.document(content)), False
        except Unavailable:
            self._lacking(subject, "its manifest", content)
            return None, True
        except FormatError as error:
            self.findings.find(
                Rule.MANIFEST_FORMAT, f"{subject}, manifest", error, "a manifest", version_evidence(version)
            )
            return None, False

    async def _look_ahead(self) -> None:
        """Say so when a buffer has closed and nobody has published its version."""
        published = self.history.published
        if not published or self.layout is None:
            return
        try:
            state = await self._buffer_state({}, Seq(0))
        except FedchainError as error:
            self.findings.note("next version", str(error))
            return
        if state.plan is not None:
            text = f"due since record {state.plan.through}, and not published yet"
            self.findings.note(f"version {state.version}", text)

    def _forget(self, version: Published) -> None:
        """Drop what was found in updates that are settled: nothing asks for it again."""
        self._inspections = {seq: found for seq, found in self._inspections.items() if seq > version.consumed}

    def _lacking(self, subject: str, what: str, content: Content) -> None:
        """Write down that a blob is not available: by right, where it was erased."""
        if content in self.erased:
            self.findings.note(subject, f"not judged in full: {what} {content.cid} was erased")
        else:
            self.findings.skip(subject, f"not judged in full: {what} {content.cid} is not available")


def _update(record: Record) -> UpdateSubmitted:
    assert isinstance(record.payload, UpdateSubmitted)
    return record.payload


def _cid(content: Content | None) -> str:
    return "no version yet" if content is None else content.cid
