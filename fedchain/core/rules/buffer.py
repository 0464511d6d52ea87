"""The open buffer: judges updates in ledger order, and goes on where it stopped.

Every update is judged once, so that planning is linear in updates and a new record costs what it adds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedchain.core.errors import FedchainError
from fedchain.core.ledger.content import Content
from fedchain.core.ledger.records import Address, BufferClosed, Record, Role, Seq, UpdateSubmitted, Version
from fedchain.core.rules.admission import judge_content, judge_records
from fedchain.core.rules.judged import Decision, Inspection, JudgedUpdate
from fedchain.core.rules.plan import Plan
from fedchain.core.rules.policy import Policy

if TYPE_CHECKING:
    from fedchain.core.rules.history import History


@dataclass(frozen=True, slots=True)
class BufferState:
    """How the next version stands."""

    version: Version
    policy: Policy
    size: int
    """K: admitted updates that close the buffer."""
    admitted: tuple[JudgedUpdate, ...]
    """Updates admitted so far."""
    to_inspect: tuple[Record, ...]
    """Updates whose contents have to be inspected; nothing after the first of them is decided before it is."""
    plan: Plan | None
    """The finished plan, once the buffer has closed."""
    timeout_at: int | None
    """Block time from when on BufferClosed closes the buffer; None while nothing is admitted."""


class OpenBuffer:
    """The buffer of the first version that is not applied to a history yet.

    It reads on in the history as that grows, until the history applies a version: then there is another buffer.
    """

    def __init__(self, history: History) -> None:
        """Open the buffer; raises FedchainError before genesis is applied or a policy is set."""
        if not history.applied:
            raise FedchainError("genesis is not published yet: the aggregator's key does that with `fedchain genesis`")
        self._history = history
        self.parent = history.published[history.applied - 1]
        self.opened = self.parent.consumed
        self.policy_seq, self.policy = history.policy(self.opened)
        size = self.policy.buffer.size
        trainers = history.members.holding(Role.TRAINER, Seq(self.opened + 1))
        self.size = max(1, len(trainers)) if size == "all" else size
        self.version = Version(self.parent.version + 1)
        self._updates: list[JudgedUpdate] = []
        self._admitted: list[JudgedUpdate] = []
        self._contents: set[Content] = set()
        self._by_site: Counter[Address] = Counter()
        self._timeout_at: int | None = None
        self._seen = 0
        """Records of the history's tail that were looked at."""
        self._judged = 0
        """Records of the tail that were judged."""
        self._to_inspect: dict[Seq, Record] = {}
        self._through: Seq | None = None
        """The record that closed the buffer."""

    def judge(self, inspections: Mapping[Seq, Inspection]) -> BufferState:
        """Go on until the buffer closes, a content has to be inspected, or the records end.

        `inspections` holds at least what it held the last time.
        """
        tail = self._tail()
        self._look(tail, inspections)
        while self._through is None and self._judged < len(tail):
            record = tail[self._judged]
            if isinstance(record.payload, BufferClosed):
                if self._timeout_at is not None and record.time >= self._timeout_at:
                    self._through = record.seq
            elif isinstance(record.payload, UpdateSubmitted) and not self._judge(record, record.payload, inspections):
                break
            self._judged += 1
        is_closed = self._through is not None
        return BufferState(
            version=self.version,
            policy=self.policy,
            size=self.size,
            admitted=tuple(self._admitted),
            to_inspect=() if is_closed else tuple(self._to_inspect.values()),
            plan=self._plan(self._through) if self._through is not None else None,
            timeout_at=self._timeout_at,
        )

    def _tail(self) -> list[Record]:
        """Return the records that this buffer may consume: those before its version was published."""
        history = self._history
        if history.applied == len(history.published):
            return history.tail
        end = history.published[history.applied].record.seq
        return [record for record in history.tail if record.seq < end]

    def _look(self, tail: list[Record], inspections: Mapping[Seq, Inspection]) -> None:
        """Take note of new records that will have to be inspected, and drop those that were."""
        for record in tail[self._seen :]:
            update = record.payload
            if isinstance(update, UpdateSubmitted) and self._history.knows(update.base, record.seq):
                self._to_inspect[record.seq] = record
        self._seen = len(tail)
        for seq in self._to_inspect.keys() & inspections.keys():
            del self._to_inspect[seq]

    def _judge(self, record: Record, update: UpdateSubmitted, inspections: Mapping[Seq, Inspection]) -> bool:
        """Judge one update; returns False when its content has to be inspected first."""
        history, site, rules = self._history, record.actor, self.policy.admission
        base_known = history.knows(update.base, record.seq)
        staleness = self.parent.version - update.base if base_known else None
        decision = judge_records(
            rules,
            self.policy.buffer.per_site,
            is_trainer=Role.TRAINER in history.members.roles(site, record.seq),
            staleness=staleness,
            in_buffer=self._by_site[site],
            ever=history.admitted_by[site] + self._by_site[site],
            is_duplicate=update.content in history.admitted or update.content in self._contents,
        )
        found = None
        if decision is None:
            found = inspections.get(record.seq)
            if found is None:
                return False
            decision = judge_content(found, rules)
        self._to_inspect.pop(record.seq, None)
        judged = JudgedUpdate(record.seq, site, update.content, update.base, update.samples, decision, staleness, found)
        self._updates.append(judged)
        if decision is Decision.MERGED:
            self._admit(judged, record.time)
        return True

    def _admit(self, update: JudgedUpdate, time: int) -> None:
        self._admitted.append(update)
        self._contents.add(update.content)
        self._by_site[update.site] += 1
        if self._timeout_at is None:
            self._timeout_at = time + self.policy.buffer.timeout_s
        if len(self._admitted) == self.size:
            self._through = update.seq

    def _plan(self, through: Seq) -> Plan:
        published = self._history.published
        return Plan(
            version=self.version,
            parent=self.parent.claim.model,
            policy=self.policy,
            policy_seq=self.policy_seq,
            first=Seq(self.opened + 1),
            through=through,
            updates=tuple(self._updates),
            bases={update.base: published[update.base].claim.model for update in self._admitted},
            state=self._history.state_left(self._history.last, self.policy.strategy.name),
        )
