"""History: the one keeper of the federation's rules, fed by everyone - aggregator, node and audit.

It takes records in ledger order and answers what the next version is. It is a pure class: it knows no clock,
network or disk, and two histories fed the same records and the same findings are equal.

Versions and buffers (DESIGN 6):
- The buffer of version n+1 opens with the record that closed version n's buffer (for n = 0, with genesis).
- Updates are judged in ledger order. The buffer closes with its K-th admitted update, or with a BufferClosed
  record whose block time is at least timeout_s after the buffer's first admitted update.
- The policy in force when a buffer opens holds until it closes.
- A version consumes only what came before its record: one published too early is judged alike at any time.
- A published version is settled: what its manifest says of contents (available, well-formed, sizes of changes)
  is taken as found, and everything else is recomputed and compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256

from fedchain.core.errors import FedchainError, FormatError, HeadMismatch
from fedchain.core.ledger.content import Content, Digest
from fedchain.core.ledger.members import Members
from fedchain.core.ledger.records import (
    NO_SEQ,
    Address,
    BufferClosed,
    Federation,
    Head,
    MemberSet,
    ModelPublished,
    PolicySet,
    Record,
    Role,
    Seq,
    UpdateSubmitted,
    Version,
    first_head,
    next_head,
)
from fedchain.core.rules.admission import Candidate, Decision, Inspection, judge_content, judge_records
from fedchain.core.rules.manifest import Discrepancy, Manifest, differences, genesis_manifest, manifest_of
from fedchain.core.rules.plan import Entry, Plan
from fedchain.core.rules.policy import Policy
from fedchain.core.strategies.registry import COMBINERS


@dataclass(frozen=True, slots=True)
class Published:
    """A version as its record says."""

    record: Record
    claim: ModelPublished

    @property
    def version(self) -> Version:
        """The version's number."""
        return self.claim.version

    @property
    def consumed(self) -> Seq:
        """The record with which the next buffer opens; a claim on records still to come is cut."""
        return min(self.claim.through, self.record.seq) if self.version else self.record.seq


@dataclass(frozen=True, slots=True)
class BufferState:
    """How the next version stands."""

    version: Version
    policy: Policy
    size: int
    """K: admitted updates that close the buffer."""
    admitted: tuple[Entry, ...]
    """Updates admitted so far."""
    to_inspect: tuple[Record, ...]
    """Updates whose contents have to be inspected before anything after the first of them can be decided."""
    plan: Plan | None
    """The finished plan, once the buffer has closed and nothing is wanted."""
    timeout_at: int | None
    """Block time from when on BufferClosed closes the buffer; None while nothing is admitted."""


class History:
    """The state of a federation as its records define it."""

    def __init__(self, federation: Federation) -> None:
        self.federation = federation
        self.head = first_head(federation)
        self.length = 0
        """Records taken so far: the seq of the next one."""
        self.members = Members()
        self.published: list[Published] = []
        self.applied = 0
        """Versions whose manifests are taken into account."""
        self.heads: list[Head] = []
        """The head after each record."""
        self.ignored: list[tuple[Record, str]] = []
        """Records without effect, each with why it has none."""
        self._policies: list[tuple[Seq, Content, Policy]] = []
        self.tail: list[Record] = []
        """Updates and BufferClosed records that no settled version has consumed."""
        self._admitted: set[Content] = set()
        self._admitted_by: Counter[Address] = Counter()

    def append(self, record: Record) -> None:
        """Take the next record; raises HeadMismatch when it is not the next one."""
        if record.seq != self.length:
            raise HeadMismatch(f"record {record.seq} came where record {self.length} was due: read the ledger anew")
        self.head = next_head(self.head, record)
        self.heads.append(self.head)
        self.length += 1
        match record.payload:
            case MemberSet() as change:
                self.members.apply(record, change)
            case PolicySet(document):
                self._set_policy(record, document)
            case ModelPublished() as claim:
                self._claim(record, claim)
            case BufferClosed(restart_from=start) if start != NO_SEQ:
                self.ignored.append((record, f"restarts from record {start}, which has no effect yet"))
            case UpdateSubmitted() | BufferClosed():
                self.tail.append(record)

    def _set_policy(self, record: Record, document: bytes) -> None:
        """Put a policy into force; bytes that are not a policy leave the one before."""
        try:
            policy = Policy.parse(document)
        except FormatError as error:
            self.ignored.append((record, f"is not a policy, so the one before stays in force: {error}"))
        else:
            name = Content(Digest(sha256(document).digest()), len(document))
            self._policies.append((record.seq, name, policy))

    def _claim(self, record: Record, claim: ModelPublished) -> None:
        """Take the first claim of the next version that goes on from this ledger's records; others have no effect."""
        due = len(self.published)
        if claim.version != due:
            self.ignored.append((record, f"claims version {claim.version}, where version {due} was the next"))
        elif claim.through >= record.seq or claim.head != self.heads[claim.through]:
            self.ignored.append((record, f"claims version {due} on another head after record {claim.through}"))
        else:
            self.published.append(Published(record, claim))

    @property
    def latest(self) -> Published | None:
        """The newest published version."""
        return self.published[-1] if self.published else None

    def policy(self, seq: Seq) -> tuple[Seq, Content, Policy]:
        """Return the policy in force after record `seq`, or the first one set later; raises FedchainError."""
        if not self._policies:
            raise FedchainError("no valid policy is set: the governor sets one with `fedchain policy set`")
        before = [entry for entry in self._policies if entry[0] <= seq]
        return before[-1] if before else self._policies[0]

    def buffer_state(self, inspections: Mapping[Seq, Inspection]) -> BufferState:
        """Say how the first version that is not settled stands, given what was found in contents so far.

        Raises FedchainError before genesis is settled or a policy is known.
        """
        return _Buffer(self, inspections).judge()

    def apply(self, manifest: Manifest | None) -> list[Discrepancy]:
        """Take the next published version's manifest into account and return where it departs from the rules.

        What it states of contents is taken as found; None stands for bytes that are no manifest. What it merged
        counts as admitted even where it should not have been: later versions are judged as its successors.
        """
        version = self.published[self.applied]
        if manifest is None:
            found = [Discrepancy("manifest", "nothing that can be read", "a manifest")]
        else:
            found = differences(manifest, self._expected(version, manifest))
        self.applied += 1
        self.tail = [record for record in self.tail if record.seq > version.consumed]
        for line in manifest.updates if manifest else ():
            if line.decision is Decision.MERGED:
                self._admitted.add(line.content)
                self._admitted_by[Address(line.site)] += 1
        return found

    def _expected(self, version: Published, stated: Manifest) -> Manifest | str:
        """Compute the manifest that the rules imply, or say why there can be none yet."""
        claim = version.claim
        if claim.version == 0:
            return genesis_manifest(self.federation, claim.model)
        try:
            state = self.buffer_state(stated.inspections)
        except FedchainError as error:  # no policy, or weights that no sum can carry
            return str(error)
        if state.to_inspect:
            return f"update {state.to_inspect[0].seq} is to be decided by its content, of which nothing is stated"
        if state.plan is None:
            return f"the buffer is open: {len(state.admitted)} of {state.size} updates admitted"
        if state.plan.through != claim.through:
            return f"the buffer closed with record {state.plan.through}, not {claim.through}"
        return manifest_of(self.federation, state.plan, claim.model)


class _Buffer:
    """The buffer that is filling: judges the tail of a history once."""

    def __init__(self, history: History, inspections: Mapping[Seq, Inspection]) -> None:
        if not history.applied:
            raise FedchainError("genesis is not published yet: the aggregator's key does that with `fedchain genesis`")
        self.history = history
        self.inspections = inspections
        ahead = history.published[history.applied :]
        self.tail = [record for record in history.tail if not ahead or record.seq < ahead[0].record.seq]
        self.parent = history.published[history.applied - 1]
        self.opened = self.parent.consumed
        self.policy_seq, self.policy_content, self.policy = history.policy(self.opened)
        size = self.policy.buffer.size
        trainers = history.members.holding(Role.TRAINER, Seq(self.opened + 1))
        self.size = max(1, len(trainers)) if size == "all" else size
        self.entries: list[Entry] = []
        self.admitted: list[Entry] = []
        self.timeout_at: int | None = None

    def judge(self) -> BufferState:
        """Walk the tail until the buffer closes, a content is wanted, or the records end."""
        for position, record in enumerate(self.tail):
            if isinstance(record.payload, BufferClosed):
                closed = self.timeout_at is not None and record.time >= self.timeout_at
            else:
                entry = self._entry(record)
                if entry is None:
                    return self._buffer_state(to_inspect=tuple(filter(self._needs_inspection, self.tail[position:])))
                self.entries.append(entry)
                if entry.decision is Decision.MERGED:
                    self.admitted.append(entry)
                    self.timeout_at = self.timeout_at or record.time + self.policy.buffer.timeout_s
                closed = len(self.admitted) == self.size
            if closed:
                return self._buffer_state(through=record.seq)
        return self._buffer_state()

    def _entry(self, record: Record) -> Entry | None:
        """Judge one update; None when its content has to be inspected first."""
        update = record.payload
        assert isinstance(update, UpdateSubmitted)
        history, site = self.history, record.actor
        base_known = 0 <= update.base < len(history.published) and (
            history.published[update.base].record.seq < record.seq
        )
        staleness = self.parent.version - update.base
        candidate = Candidate(
            is_trainer=Role.TRAINER in history.members.roles(site, record.seq),
            base_known=base_known,
            staleness=staleness,
            admitted_in_buffer=sum(entry.site == site for entry in self.admitted),
            admitted_ever=history._admitted_by[site] + sum(entry.site == site for entry in self.admitted),
            is_duplicate=update.content in history._admitted
            or any(entry.content == update.content for entry in self.admitted),
        )
        decision = judge_records(candidate, self.policy.admission, self.policy.buffer.per_site)
        found = None
        if decision is None:
            if self._needs_inspection(record):
                return None
            found = self.inspections[record.seq]
            decision = judge_content(found, self.policy.admission)
        return Entry(
            seq=record.seq,
            site=site,
            content=update.content,
            base=update.base,
            samples=update.samples,
            decision=decision,
            staleness=staleness if base_known else None,
            inspection=found,
        )

    def _needs_inspection(self, record: Record) -> bool:
        """Tell whether an update whose base is known has to be inspected, or inspected again for its norm."""
        update = record.payload
        if not isinstance(update, UpdateSubmitted) or not update.base < len(self.history.published):
            return False
        found = self.inspections.get(record.seq)
        needs_norm = self.policy.admission.max_norm is not None
        return found is None or (found.failure is None and found.norm2 is None and needs_norm)

    def _buffer_state(self, *, to_inspect: tuple[Record, ...] = (), through: Seq | None = None) -> BufferState:
        return BufferState(
            version=Version(self.parent.version + 1),
            policy=self.policy,
            size=self.size,
            admitted=tuple(self.admitted),
            to_inspect=to_inspect,
            plan=None if through is None else self._plan(through),
            timeout_at=self.timeout_at,
        )

    def _plan(self, through: Seq) -> Plan:
        weights = COMBINERS[self.policy.combiner].weigh(self.admitted, self.policy)
        weight_of = {entry.seq: weight for entry, weight in zip(self.admitted, weights.each, strict=True)}
        published = self.history.published
        return Plan(
            version=Version(self.parent.version + 1),
            parent=self.parent.claim.model,
            policy=self.policy,
            policy_seq=self.policy_seq,
            policy_content=self.policy_content,
            first=Seq(self.opened + 1),
            through=through,
            entries=tuple(replace(entry, weight=weight_of.get(entry.seq, 0)) for entry in self.entries),
            divisor=weights.divisor,
            bases={entry.base: published[entry.base].claim.model for entry in self.admitted},
        )
