"""History: the one keeper of the federation's rules, fed by everyone - aggregator, node and audit.

It takes records in ledger order and answers what the next version is. It is a pure class: it knows no clock,
network or disk, and two histories fed the same records and the same findings are equal.

Versions and buffers (DESIGN 6):
- The first claim of the next number counts, if it names records before its own and the head after them; what else
  is claimed has no effect.
- The buffer of version n+1 opens with the record that closed version n's buffer (for n = 0, with genesis).
- Updates are judged in ledger order (`buffer.OpenBuffer`). The buffer closes with its K-th admitted update, or with
  a BufferClosed record whose block time is at least timeout_s after the buffer's first admitted update.
- The policy in force when a buffer opens holds until it closes. Bytes that are not a policy change nothing.
- A version consumes only what came before its record: one published too early is judged alike at any time.
- A published version is applied: what its manifest says of contents (available, well-formed, sizes of changes)
  is taken as found, and everything else is recomputed and compared (`check`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fedchain.core.errors import FedchainError, FormatError, HeadMismatch
from fedchain.core.ledger.content import Content
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
    Seq,
    UpdateSubmitted,
    Version,
    first_head,
    next_head,
)
from fedchain.core.rules.buffer import OpenBuffer
from fedchain.core.rules.judged import Decision
from fedchain.core.rules.manifest import Discrepancy, Manifest, differences, genesis_manifest, manifest_as_stated
from fedchain.core.rules.policy import Policy
from fedchain.core.strategies.registry import STRATEGIES


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
        """The record with which the next buffer opens."""
        return self.claim.through if self.version else self.record.seq


class Policies:
    """Which policy is in force when."""

    def __init__(self) -> None:
        self._set: list[tuple[Seq, Policy]] = []

    def set(self, record: Record, document: bytes) -> str | None:
        """Put a policy into force; bytes that are not a policy leave the one before, and the problem is returned."""
        try:
            self._set.append((record.seq, Policy.parse(document)))
        except FormatError as error:
            return f"is not a policy, so the one before stays in force: {error}"
        return None

    def in_force(self, seq: Seq) -> tuple[Seq, Policy]:
        """Return the policy in force after record `seq`, or the first one set later; raises FedchainError."""
        if not self._set:
            raise FedchainError("no valid policy is set: the governor sets one with `fedchain policy set`")
        index = bisect_right(self._set, seq, key=lambda entry: entry[0])
        return self._set[max(0, index - 1)]


class History:
    """The state of a federation as its records define it."""

    def __init__(self, federation: Federation) -> None:
        self.federation = federation
        self.head = first_head(federation)
        """The running hash over all records taken."""
        self.heads: list[Head] = []
        """The head after each record."""
        self.length = 0
        """Records taken: the seq of the next one."""
        self.members = Members()
        self.published: list[Published] = []
        self.ignored: list[tuple[Record, str]] = []
        """Claims and policies without effect, each with the reason."""
        self.applied = 0
        """Versions whose manifests are taken into account."""
        self.tail: list[Record] = []
        """Updates and BufferClosed records that no applied version has consumed."""
        self.admitted: set[Content] = set()
        """Contents that applied versions merged."""
        self.admitted_by: Counter[Address] = Counter()
        """Updates that applied versions merged, by site."""
        self._policies = Policies()
        self._buffer: OpenBuffer | None = None
        self.last: Manifest | None = None
        """The manifest applied last."""

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
                if problem := self._policies.set(record, document):
                    self.ignored.append((record, problem))
            case ModelPublished() as claim:
                self._claim(record, claim)
            case BufferClosed(restart_from=start) if start != NO_SEQ:
                self.ignored.append((record, f"restarts from record {start}, which has no effect yet"))
            case UpdateSubmitted() | BufferClosed():
                self.tail.append(record)

    def _claim(self, record: Record, claim: ModelPublished) -> None:
        """Take a claim as the next version, or say why it has no effect."""
        due = len(self.published)
        if claim.version != due:
            self.ignored.append((record, f"claims version {claim.version}, where version {due} was the next"))
        elif claim.through >= record.seq:
            self.ignored.append((record, f"claims records through {claim.through}, which is not before it"))
        elif claim.head != self.heads[claim.through]:
            self.ignored.append((record, f"claims version {due} on another head after record {claim.through}"))
        else:
            self.published.append(Published(record, claim))

    @property
    def latest(self) -> Published | None:
        """The newest published version."""
        return self.published[-1] if self.published else None

    def knows(self, base: Version, seq: Seq) -> bool:
        """Tell whether a version was published before record `seq`."""
        return 0 <= base < len(self.published) and self.published[base].record.seq < seq

    def policy(self, seq: Seq) -> tuple[Seq, Policy]:
        """Return the policy in force after record `seq`, or the first one set later; raises FedchainError."""
        return self._policies.in_force(seq)

    def state_left(self, manifest: Manifest | None, strategy: str) -> Mapping[str, Content]:
        """Return the state vectors that a version left to a strategy, by name; none if it was another one's."""
        if manifest is None or manifest.policy is None or not manifest.state:
            return {}
        if self.policy(Seq(manifest.policy))[1].strategy.name != strategy:
            return {}
        vectors = STRATEGIES[strategy].state.keys() & manifest.state.keys()
        return {name: manifest.state[name].content for name in sorted(vectors)}

    def open_buffer(self) -> OpenBuffer:
        """Open the buffer of the first version that is not applied, as if nobody had judged in it.

        Raises FedchainError before genesis is applied or a policy is set.
        """
        return OpenBuffer(self)

    def buffer(self) -> OpenBuffer:
        """Return the same buffer, kept from call to call: it goes on where it stopped. Raises as `open_buffer`."""
        if self._buffer is None:
            self._buffer = self.open_buffer()
        return self._buffer

    def room(self, member: Address, journalled: Iterable[tuple[Version, Seq | None]]) -> int:
        """Return how many more updates of a member fit the buffer after the newest version.

        `journalled` are its own: base, and seq where it is on the ledger. The ledger's are added where a journal was
        lost. One that is too stale takes no room; two equal ones are one record, and take two.
        """
        latest = self.published[-1]
        _, policy = self.policy(latest.consumed)
        own = [(base, seq) for base, seq in journalled if seq is None or seq > latest.consumed]
        seqs = {seq for _, seq in own}
        bases = [base for base, _ in own] + [
            record.payload.base
            for record in self.tail
            if isinstance(record.payload, UpdateSubmitted)
            and record.actor == member
            and record.seq > latest.consumed
            and record.seq not in seqs
        ]
        oldest = latest.version - policy.admission.max_staleness
        return policy.buffer.per_site - sum(base >= oldest for base in bases)

    def check(self, manifest: Manifest | None) -> list[Discrepancy]:
        """Return where the next version's manifest departs from the rules; changes nothing.

        What it states of contents is taken as found; None stands for bytes that are not a manifest.
        """
        if manifest is None:
            return [Discrepancy("manifest", "nothing that can be read", "a manifest")]
        return differences(manifest, _expected(self, self.published[self.applied], manifest))

    def apply(self, manifest: Manifest | None) -> None:
        """Take the next version into account.

        What its manifest merged counts as admitted even where it should not have been: later versions are judged as
        its successors.
        """
        version = self.published[self.applied]
        self.applied += 1
        self.tail = [record for record in self.tail if record.seq > version.consumed]
        self.last, self._buffer = manifest, None
        for line in manifest.updates if manifest else ():
            if line.decision is Decision.MERGED:
                self.admitted.add(line.content)
                self.admitted_by[Address(line.site)] += 1


def _expected(history: History, version: Published, stated: Manifest) -> Manifest | str:
    """Compute the manifest that the rules imply, or say why there can be none yet."""
    claim = version.claim
    if claim.version == 0:
        return genesis_manifest(history.federation, claim.model)
    try:
        state = history.open_buffer().judge(stated.inspections)
        if state.to_inspect:
            seq = state.to_inspect[0].seq
            return f"update {seq} is to be decided by its content, of which nothing is stated"
        if state.plan is None:
            return f"the buffer is open: {len(state.admitted)} of {state.size} updates admitted"
        if state.plan.through != claim.through:
            return f"the buffer closed with record {state.plan.through}, not {claim.through}"
        return manifest_as_stated(history.federation, state.plan, claim.model, stated)
    except FedchainError as error:  # no policy, or weights that no sum can carry
        return str(error)
