"""Recomputing a version from ledger and content: what the aggregator publishes and everybody else checks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from fedchain.core.formats.layout import Layout
from fedchain.core.ledger.content import Content
from fedchain.core.ledger.records import Federation, Seq, Version
from fedchain.core.ports import BlobReader, BlobWriter, Offload, Store
from fedchain.core.rules.history import History
from fedchain.core.rules.judged import Decision, JudgedUpdate
from fedchain.core.rules.manifest import Manifest, manifest_of
from fedchain.core.rules.plan import Plan
from fedchain.core.strategies.merge import OUTPUT_CHUNK, Merge, Merged, MergeInputs
from fedchain.core.strategies.statefile import ZEROS, StateFile
from fedchain.core.strategies.strategy import Gram
from fedchain.core.updates.inspection import gram
from fedchain.core.updates.updatefile import UpdateFile


@dataclass(frozen=True, slots=True)
class Recomputed:
    """A version that was made from its plan."""

    plan: Plan
    merged: Merged
    gram: Gram | None

    def manifest(self, federation: Federation) -> Manifest:
        """Describe it."""
        return manifest_of(federation, self.plan, self.merged, self.gram)


def plan_again(manifest: Manifest, parent: Manifest | None, history: History) -> Plan:
    """Read the plan of an applied version back from its manifest: enough to merge the version once more.

    `parent` is the manifest of the version before, which names the state that a strategy goes on from.
    """
    assert manifest.parent is not None
    assert manifest.policy is not None
    seq, policy = history.policy(Seq(manifest.policy))
    updates = tuple(line.judged for line in manifest.updates)
    return Plan(
        version=Version(manifest.version),
        parent=manifest.parent.content,
        policy=policy,
        policy_seq=seq,
        first=Seq(manifest.first),
        through=Seq(manifest.through),
        updates=updates,
        bases={one.base: history.published[one.base].claim.model for one in updates if one.decision is Decision.MERGED},
        state=history.state_left(parent, policy.strategy.name),
    )


def needed(plan: Plan) -> dict[Content, str]:
    """List the blobs that a plan is merged from, each with what it is."""
    found = {plan.parent: f"the model of version {plan.version - 1}"}
    found |= {update.content: f"the update of record {update.seq}" for update in plan.merged}
    if plan.strategy.needs_bases:
        found |= {content: f"the model of version {base}" for base, content in plan.bases.items()}
    return found | {content: f"the state {name} of version {plan.version - 1}" for name, content in plan.state.items()}


async def recompute(
    plan: Plan,
    layout: Layout,
    store: Store,
    create: Callable[[], BlobWriter],
    *,
    threads: int = 1,
    offload: Offload = asyncio.to_thread,
) -> Recomputed:
    """Merge a plan's updates into a new version's files; raises Unavailable, Corrupt, PlanError."""
    blobs = {content: await store.fetch(content) for content in needed(plan)}
    return await offload(_recompute, plan, layout, blobs, create, threads)


def _recompute(
    plan: Plan, layout: Layout, blobs: dict[Content, BlobReader], create: Callable[[], BlobWriter], threads: int
) -> Recomputed:
    """Open the files, measure what the strategy asks for, weigh and merge."""
    strategy, merged, parameters = plan.strategy, plan.merged, plan.policy.strategy
    opened = {update.seq: _open(update, plan, layout, blobs) for update in merged}
    updates = [opened[update.seq] for update in merged]
    state = {
        name: StateFile(blobs[plan.state[name]], layout, strategy.name, name, dtype)
        for name, dtype in strategy.state.items()
        if name in plan.state
    }
    measured = None
    if strategy.needs_gram:
        measured = gram([*updates, *(state.get(name, ZEROS) for name in strategy.gram_state)], layout)
    inputs = MergeInputs(
        parent=blobs[plan.parent],
        updates=updates,
        freshest=None if plan.freshest is None else opened[plan.freshest.seq],
        bases=[blobs[plan.bases[update.base]] for update in merged] if strategy.needs_bases else (),
        state=state,
    )
    merge = Merge(layout, strategy, parameters, plan.weigh(measured), inputs)
    return Recomputed(plan, run_merge(merge, create, threads), measured)


def run_merge(merge: Merge, create: Callable[[], BlobWriter], threads: int, chunk: int = OUTPUT_CHUNK) -> Merged:
    """Run a merge on so many threads, beside the caller's own: it hashes and writes the chunk before."""
    with ThreadPoolExecutor(threads, "merge") as pool:

        def start(parts: Sequence[Callable[[], None]]) -> Callable[[], None]:
            futures = [pool.submit(part) for part in parts]

            def wait() -> None:
                for future in futures:
                    future.result()

            return wait

        return merge.run(create, parts=threads, start=start, chunk=chunk)


def _open(update: JudgedUpdate, plan: Plan, layout: Layout, blobs: dict[Content, BlobReader]) -> UpdateFile:
    base = plan.bases[update.base]
    return UpdateFile.open(blobs[update.content], layout, update.site, base, plan.policy.encodings)
