"""The auditor's own inspections of updates, and what it has to take from a manifest."""

from __future__ import annotations

from fedchain.audit.contents import Contents
from fedchain.audit.findings import Findings
from fedchain.audit.judge import Facts, Rejudge
from fedchain.core.formats.layout import Layout
from fedchain.core.ledger.content import Content
from fedchain.core.ledger.records import Record, Seq, UpdateSubmitted
from fedchain.core.rules.buffer import BufferState
from fedchain.core.rules.history import History, Published
from fedchain.core.rules.judged import BY_CONTENT, Decision, Inspection
from fedchain.core.rules.manifest import Manifest
from fedchain.core.rules.policy import Policy
from fedchain.replica.inspector import Inspector, decide


class Inspections:
    """What the auditor found in updates, each inspected once."""

    def __init__(self, history: History, layout: Layout, contents: Contents, findings: Findings) -> None:
        self._history = history
        self._contents = contents
        self._findings = findings
        self._inspector = Inspector(history, layout, contents)
        self._found: dict[Seq, Inspection] = {}

    async def state(self, facts: Facts, last: Seq) -> BufferState:
        """Judge the open buffer under facts and the auditor's own inspections of all other updates."""

        async def inspect(record: Record, policy: Policy) -> Inspection:
            self._found[record.seq] = await self._inspector.inspect(record, policy)
            return self._found[record.seq]

        return await decide(self._history.open_buffer(), inspect, self._found | dict(facts), last)

    def rejudge(self, version: Published) -> Rejudge:
        """Return what judges the buffer of a version under other facts."""

        async def state(facts: Facts) -> BufferState:
            return await self.state(facts, version.consumed)

        return state

    async def facts(self, version: Published, stated: Manifest) -> dict[Seq, Inspection]:
        """Take from a manifest what only it can say: which updates no peer had, and what those hold that are gone."""
        facts, inspections = {}, stated.inspections
        _, policy = self._history.policy(self._history.published[version.version - 1].consumed)
        updates = {record.seq: record for record in self._history.tail}
        for line in stated.updates:
            record, found = updates.get(Seq(line.seq)), inspections.get(Seq(line.seq))
            if record is None or found is None or not isinstance(record.payload, UpdateSubmitted):
                continue
            is_here = await self._contents.check(record.payload.content, f"update of record {line.seq}")
            if line.decision is Decision.UNAVAILABLE:
                facts[record.seq] = found
                if is_here:
                    subject = f"version {version.version}, update {line.seq}"
                    self._findings.note(subject, "stated unavailable, which need not be wrong: it can be read now")
            elif not is_here and (await self._inspector.inspect(record, policy)).failure is Decision.UNAVAILABLE:
                facts[record.seq] = found
        return facts

    def unproven(self, state: BufferState) -> dict[str, Content]:
        """Name rejections that rest on a content that no peer has."""
        return {
            f"update {update.seq}, rejected as {update.decision},": update.content
            for update in (state.plan.updates if state.plan else ())
            if update.decision in BY_CONTENT - {Decision.UNAVAILABLE}
            and update.inspection not in (None, self._found.get(update.seq))
        }

    def forget(self, version: Published) -> None:
        """Drop what was found in updates that a version consumed: nothing asks for it again."""
        self._found = {seq: found for seq, found in self._found.items() if seq > version.consumed}
