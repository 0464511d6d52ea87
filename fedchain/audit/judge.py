"""The judge: one manifest against what ledger and content say, each departure named once.

A wrong decision about one update shifts all that follows: the buffer closes later, weights and divisor change.
So decisions are compared in ledger order, and after each departure the rest is judged as its consequence, unless
the version was made as if there were none. What is then still different is a departure of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from fedchain.audit.findings import Findings, Rule
from fedchain.audit.formatting import record_text, version_evidence
from fedchain.core.errors import PlanError
from fedchain.core.ledger.records import Seq, UpdateSubmitted
from fedchain.core.rules.buffer import BufferState
from fedchain.core.rules.history import History, Published
from fedchain.core.rules.judged import BY_CONTENT, Decision, Inspection
from fedchain.core.rules.manifest import (
    Manifest,
    UpdateLine,
    described,
    differences,
    genesis_manifest,
    manifest_as_stated,
    update_line,
)
from fedchain.core.rules.plan import Plan
from fedchain.core.strategies.strategy import Weights
from fedchain.core.updates.inspection import UNAVAILABLE

Facts = Mapping[Seq, Inspection]
"""What updates' contents are, by seq."""

Rejudge = Callable[[Facts], Awaitable[BufferState]]
"""Judges the buffer under these facts, and the auditor's own about all other updates."""

ADMISSIBLE: Final = Inspection(None, 0, 0)
"""What a content would have to be to be admitted under any policy."""


class Judge:
    """Judges one version's manifest."""

    def __init__(self, history: History, version: Published, stated: Manifest, findings: Findings) -> None:
        self._history = history
        self._version = version
        self._stated = stated
        self._findings = findings
        self._lines = {Seq(line.seq): line for line in stated.updates}
        self._named: set[Seq] = set()
        """Updates about which there is a finding already."""
        self._implied_of: tuple[BufferState, dict[Seq, UpdateLine]] | None = None
        """The lines that a state implies, for the state asked about last."""
        self._is_judgeable = True
        """False once the manifest admits what no content could have admitted: the rest may follow from that."""

    def judge_genesis(self) -> None:
        """Compare the manifest of version 0, which is an input: it has neither parent nor updates."""
        claim = self._version.claim
        for found in differences(self._stated, genesis_manifest(self._history.federation, claim.model)):
            self._find(Rule.MANIFEST_KEY, found.where, found.stated, found.expected)
        if claim.through != 0:
            self._find(Rule.VERSION_BOUNDARY, "through", claim.through, "0: genesis consumes nothing")

    async def judge(self, facts: Facts, rejudge: Rejudge) -> BufferState:
        """Compare accounts, decisions, numbers and keys, in this order; returns the state that the rules imply.

        `facts` are those about contents that are taken from the manifest.
        """
        honest = state = await rejudge(facts)
        left_out = self._compare_accounts(honest)
        if left_out and not self._is_of(state):
            facts = {**facts, **dict.fromkeys(left_out, UNAVAILABLE)}
            state = await rejudge(facts)
        while self._is_judgeable and (seq := self._first_departure(state)) is not None:
            self._compare_line(seq, state)
            if not self._is_of(state):
                facts = {**facts, seq: self._as_stated(seq, state)}
                state = await rejudge(facts)
        for seq in sorted(self._lines.keys() & self._implied_lines(state).keys() - self._named):
            self._compare_line(seq, state)
        self._compare_keys(state)
        if not self._is_judgeable:
            subject = f"version {self._version.version}"
            self._findings.note(subject, "what may follow from an undue admission was not judged apart")
        return honest

    def _is_of(self, state: BufferState) -> bool:
        """Tell whether the version was made by this state's plan, so that the lie is in the manifest alone."""
        plan = state.plan
        if plan is None or not _is_weighable(plan, self._stated):
            return False
        divisors = self._implied(plan).divisors
        return (plan.through, divisors) == (self._version.claim.through, self._stated.divisors)

    def _compare_accounts(self, honest: BufferState) -> set[Seq]:
        """Every update of the buffer has one line, in ledger order, and nothing else has; returns those left out."""
        lines = self._implied_lines(honest)
        updates = {one.seq: one for one in self._history.tail if isinstance(one.payload, UpdateSubmitted)}
        due = {seq for seq in updates if seq <= self._version.consumed}
        seqs = [line.seq for line in self._stated.updates]
        if seqs != sorted(set(seqs)):
            stated = "lines for updates " + ", ".join(map(str, seqs))
            self._find(Rule.MANIFEST_ORDER, "updates", stated, "one line per update, in ledger order")
        for seq in sorted(self._lines.keys() - due):
            line = self._lines[seq]
            self._named.add(seq)
            self._is_judgeable &= line.decision is not Decision.MERGED
            expected = f"no line: record {seq} is not an update of this buffer"
            self._find(
                Rule.MANIFEST_INVENTED, f"update {seq}", described(line), expected,
                update_seq=seq, update_cid=line.cid, site=line.site,
            )  # fmt: skip
        for seq in sorted(due - self._lines.keys()):
            self._named.add(seq)
            expected = f"a line: {described(lines[seq])}" if seq in lines else "a line"
            record = record_text(updates[seq])
            self._find(Rule.MANIFEST_LEFT_OUT, f"update {seq}", "no line", expected, update_seq=seq, update=record)
        return due - self._lines.keys()

    def _first_departure(self, state: BufferState) -> Seq | None:
        """Return the first update about which the manifest decides otherwise."""
        lines, plan = self._implied_lines(state), state.plan
        for seq, line in sorted(self._lines.items()):
            if seq in self._named or (plan is not None and seq > plan.through):
                continue
            ours = lines.get(seq)
            # an open buffer tells only what it admitted: then a merged update without a line of ours departs
            if (line.decision is Decision.MERGED) if ours is None else (line.decision is not ours.decision):
                return seq
        return None

    def _as_stated(self, seq: Seq, state: BufferState) -> Inspection:
        """Return what the content would have to be for the manifest's decision, if any content could lead to it."""
        line, ours = self._lines[seq], self._implied_lines(state).get(seq)
        if line.decision is not Decision.MERGED:
            return Inspection(line.decision)
        self._is_judgeable = ours is not None and ours.decision in BY_CONTENT
        return ADMISSIBLE

    def _compare_line(self, seq: Seq, state: BufferState) -> None:
        """Report where a line differs from what the rules imply, all its keys in one finding."""
        line, ours = self._lines[seq], self._implied_lines(state).get(seq)
        if ours is None:
            stated, expected = described(line), "a rejection"
        else:
            keys = [key for key in UpdateLine.model_fields if getattr(line, key) != getattr(ours, key)]
            if not self._is_judgeable:
                keys = [key for key in keys if key not in ("decision", "weights")]
            if state.plan is not None and not _is_weighable(state.plan, self._stated):
                keys = [key for key in keys if key != "weights"]
            if not keys:
                return
            stated = ", ".join(f"{key}={getattr(line, key)}" for key in keys)
            expected = ", ".join(f"{key}={getattr(ours, key)}" for key in keys)
        self._named.add(seq)
        self._find(Rule.MANIFEST_UPDATE, f"update {seq}", stated, expected, update_seq=seq, update_cid=line.cid)

    def _compare_keys(self, state: BufferState) -> None:
        """Compare the version's boundary and the manifest's other keys."""
        plan, claim = state.plan, self._version.claim
        is_closed = plan is not None and plan.through == claim.through
        if self._is_judgeable and not is_closed:
            expected = f"no version: {len(state.admitted)} of {state.size} updates are admitted"
            if plan is not None:
                expected = f"{plan.through}, the record that closed the buffer"
            self._find(Rule.VERSION_BOUNDARY, "through", claim.through, expected)
        if plan is None:
            return
        ours = self._implied(plan)
        ours = ours.model_copy(update={"through": claim.through, "updates": ()})
        if not (self._is_judgeable and is_closed and _is_weighable(plan, self._stated)):
            ours = ours.model_copy(update={"divisors": self._stated.divisors, "integers": self._stated.integers})
        for found in differences(self._stated.model_copy(update={"updates": ()}), ours):
            self._find(Rule.MANIFEST_KEY, found.where, found.stated, found.expected)

    def _implied(self, plan: Plan) -> Manifest:
        """Describe a plan with what only the manifest can say: the model, the state, the Gram matrix."""
        weights = None if _is_weighable(plan, self._stated) else Weights()
        return manifest_as_stated(self._history.federation, plan, self._version.claim.model, self._stated, weights)

    def _implied_lines(self, state: BufferState) -> dict[Seq, UpdateLine]:
        """Describe the updates that a state decides: of an open buffer only those admitted."""
        if self._implied_of is None or self._implied_of[0] is not state:
            lines = map(update_line, state.admitted) if state.plan is None else self._implied(state.plan).updates
            self._implied_of = state, {Seq(line.seq): line for line in lines}
        return self._implied_of[1]

    def _find(self, rule: Rule, where: str, stated: object, expected: object, **more: str | int) -> None:
        subject = f"version {self._version.version}, {where}"
        self._findings.find(rule, subject, stated, expected, version_evidence(self._version), **more)


def _is_weighable(plan: Plan, stated: Manifest) -> bool:
    """Tell whether the Gram matrix that a manifest states can be that of a plan's updates."""
    try:
        plan.weigh(stated.gram_matrix)
    except PlanError:
        return False
    return True
