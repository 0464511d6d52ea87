"""The plan of a merge: every update that a version consumes, what was decided, and what the merge reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fedchain.core.errors import PlanError
from fedchain.core.ledger.content import Content
from fedchain.core.ledger.records import Seq, Version
from fedchain.core.rules.judged import Decision, JudgedUpdate
from fedchain.core.rules.policy import Policy
from fedchain.core.strategies.registry import STRATEGIES
from fedchain.core.strategies.strategy import Cohort, Gram, Strategy, Weights, is_gram


@dataclass(frozen=True, slots=True)
class Plan:
    """How version `version` follows from its parent."""

    version: Version
    parent: Content
    policy: Policy
    policy_seq: Seq
    first: Seq
    through: Seq
    updates: tuple[JudgedUpdate, ...]
    """Every update in [first, through], in ledger order."""
    bases: Mapping[Version, Content]
    """The models that merged updates are changes to."""
    state: Mapping[str, Content] = field(default_factory=dict)
    """The strategy's state vectors that the parent left, by name; none where it had another strategy."""

    @property
    def strategy(self) -> Strategy[Any]:
        """The strategy that the policy names."""
        return STRATEGIES[self.policy.strategy.name]

    @property
    def merged(self) -> tuple[JudgedUpdate, ...]:
        """The updates that are merged."""
        return tuple(update for update in self.updates if update.decision is Decision.MERGED)

    @property
    def freshest(self) -> JudgedUpdate | None:
        """The merged update with the newest base, the later one of equals."""
        return max(self.merged, key=lambda update: (update.base, update.seq), default=None)

    def weigh(self, gram: Gram | None) -> Weights:
        """Decide the merge's integers; `gram` where the strategy needs it.

        What a manifest states is weighed too, so raises PlanError where a merged update was not measured, or `gram`
        cannot be the Gram matrix of the merged updates and the strategy's vectors.
        """
        unmeasured = [one.seq for one in self.merged if one.inspection is None or one.inspection.failure is not None]
        if unmeasured:
            raise PlanError(f"update {unmeasured[0]} is merged, but nothing is stated of its size")
        count = len(self.merged) + len(self.strategy.gram_state)
        if self.strategy.needs_gram and (gram is None or not is_gram(gram, count)):
            raise PlanError(f"strategy {self.strategy.name} weighs by the Gram matrix of {count} vectors: this is none")
        return self.strategy.weigh(Cohort(self.merged, gram), self.policy.strategy)
