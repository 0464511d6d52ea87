"""The versions: each one judged by its records, its manifest and its bytes, and computed again."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from fedchain.audit.contents import Contents
from fedchain.audit.findings import Findings, Rule
from fedchain.audit.formatting import version_evidence
from fedchain.audit.inspections import Inspections
from fedchain.audit.judge import Judge
from fedchain.audit.progress import Progress
from fedchain.audit.results import difference, missing, result_of
from fedchain.core.errors import FedchainError, FormatError, Unavailable
from fedchain.core.formats.layout import Layout, read_layout
from fedchain.core.ledger.content import Content
from fedchain.core.ledger.records import Seq
from fedchain.core.rules.history import History, Published
from fedchain.core.rules.judged import Decision
from fedchain.core.rules.manifest import Manifest
from fedchain.core.rules.plan import Plan
from fedchain.replica.recompute import Recomputed, plan_again


@dataclass(slots=True)
class Tally:
    """What the judged versions consist of."""

    judged: int = 0
    recomputed: int = 0
    """Versions that came out bit for bit, genesis not counted: it is an input."""
    decisions: dict[Decision, int] = field(default_factory=dict)
    """Updates consumed, by what became of them."""

    def count(self, plan: Plan) -> None:
        """Count the updates of a version."""
        for update in plan.updates:
            self.decisions[update.decision] = self.decisions.get(update.decision, 0) + 1


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
        self._last: Manifest | None = None
        """The manifest of the version before, as far as it can be read."""

    async def run(self) -> Tally:
        """Judge every version in order."""
        layout = await self._read_layout()
        inspections = None if layout is None else Inspections(self.history, layout, self.contents, self.findings)
        for version in self.history.published:
            self.progress("versions", version.version, len(self.history.published))
            try:
                self._last = await self._version(version, layout, inspections)
                self.history.apply(self._last)
            except FedchainError as error:
                self.findings.skip(f"versions from {version.version} on", str(error))
                return self.tally
            if inspections is not None:
                inspections.forget(version)
            self.tally.judged += 1
        if inspections is not None:
            await self._look_ahead(inspections)
        return self.tally

    async def _version(
        self, version: Published, layout: Layout | None, inspections: Inspections | None
    ) -> Manifest | None:
        """Judge one version; returns the manifest to go on from, None where its bytes are none."""
        before = len(self.findings.found)
        stated, is_missing = await self._manifest(version)
        if version.version == 0:
            if stated is not None:
                Judge(self.history, version, stated, self.findings).judge_genesis()
            return stated
        subject = f"version {version.version}"
        if layout is None or inspections is None:
            self.findings.skip(subject, "not recomputed: the model's layout is unknown, as no model can be read")
            return stated
        if stated is None:
            state = await inspections.state({}, version.consumed)
        else:
            judge = Judge(self.history, version, stated, self.findings)
            state = await judge.judge(await inspections.facts(version, stated), inspections.rejudge(version))
        made = None
        if state.plan is not None:
            self.tally.count(state.plan)
            for what, content in inspections.unproven(state).items():
                self._lacking(subject, what, content)
            lacking = await missing(state.plan, self.contents)
            for content, what in lacking.items():
                self._lacking(subject, what, content)
            if lacking:
                return stated
            made = await result_of(state.plan, layout, self.contents, self.threads)
        await self._compare(version, stated, made, before, layout, is_certain=stated is not None or not is_missing)
        return made.manifest(self.history.federation) if is_missing and made else stated

    async def _compare(
        self,
        version: Published,
        stated: Manifest | None,
        made: Recomputed | None,
        before: int,
        layout: Layout,
        *,
        is_certain: bool,
    ) -> None:
        """Report a model that is not what ledger and content make; findings about it from `before` on."""
        subject, published = f"version {version.version}", version.claim.model
        if made is not None and made.merged.model == published:
            self.tally.recomputed += 1
            self._compare_measures(version, stated, made)
            self._add_to_findings(before, "what ledger and content make, all the same")
        elif not is_certain:
            self.findings.skip(subject, "comes out otherwise, but the manifest that may say why is missing")
        elif len(self.findings.found) > before and (again := await self._made_as_stated(version, stated, layout)):
            self._compare_measures(version, stated, again)
            model = "no version yet" if made is None else made.merged.model.cid
            self._add_to_findings(before, f"made as the manifest states; ledger and content make {model}")
        elif made is not None:
            self._compare_measures(version, stated, made)
            expected = made.merged.model
            digests = {"digest": published.digest.hex(), "expected_digest": expected.digest.hex()}
            where = await difference(made.plan, layout, published, self.contents)
            evidence = version_evidence(version)
            self.findings.find(
                Rule.VERSION_RESULT, subject, f"model {published.cid}", expected.cid, evidence, digests, where
            )

    def _compare_measures(self, version: Published, stated: Manifest | None, made: Recomputed) -> None:
        """Report a Gram matrix or a state that is not what the contents give: the judge took them as stated."""
        if stated is None:
            return
        ours = made.manifest(self.history.federation)
        for key in ("gram", "state"):
            theirs, expected = getattr(stated, key), getattr(ours, key)
            where = f"version {version.version}, {key}"
            if theirs != expected and all(found.subject != where for found in self.findings.found):
                self.findings.find(Rule.MANIFEST_KEY, where, theirs, expected, version_evidence(version))

    async def _made_as_stated(self, version: Published, stated: Manifest | None, layout: Layout) -> Recomputed | None:
        """Make a version as its manifest states; None where that is not what was published."""
        if stated is None or stated.parent is None or stated.policy is None:
            return None
        try:
            plan = plan_again(stated, self._last, self.history)
            made = await result_of(plan, layout, self.contents, self.threads)
        except (FedchainError, LookupError):
            return None  # what it states cannot be merged at all
        return made if made.merged.model == version.claim.model else None

    def _add_to_findings(self, before: int, model: str) -> None:
        """Say in a version's findings what they mean for its model."""
        findings = self.findings.found
        findings[before:] = [replace(one, evidence={**one.evidence, "model": model}) for one in findings[before:]]

    async def _read_layout(self) -> Layout | None:
        """Read the model's layout from the first version that can be read: all share it."""
        for version in self.history.published:
            try:
                return read_layout(await self.contents.fetch(version.claim.model))
            except Unavailable:
                continue
            except FormatError as error:
                subject = f"model of version {version.version}"
                self.findings.find(Rule.GENESIS, subject, error, "a model", version_evidence(version))
                break
        return None

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

    async def _look_ahead(self, inspections: Inspections) -> None:
        """Say so when a buffer has closed and nobody has published its version."""
        if not self.history.applied:
            return
        try:
            state = await inspections.state({}, Seq(0))
        except FedchainError as error:
            self.findings.note("next version", str(error))
            return
        if state.plan is not None:
            text = f"due since record {state.plan.through}, and not published yet"
            self.findings.note(f"version {state.version}", text)

    def _lacking(self, subject: str, what: str, content: Content) -> None:
        """Write down that a blob is not available: by right, where it was erased."""
        if content in self.erased:
            self.findings.note(subject, f"not judged in full: {what} {content.cid} was erased")
        else:
            self.findings.skip(subject, f"not judged in full: {what} {content.cid} is not available")
