"""Manifests and plans as a liar writes them: one thing changed, everything else true."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fedchain.core.rules.manifest import Manifest
from fedchain.core.rules.plan import Plan


def with_line(manifest: Manifest, seq: int, **changes: object) -> Manifest:
    """Change keys of one update's line in a manifest."""
    lines = tuple(line.model_copy(update=changes) if line.seq == seq else line for line in manifest.updates)
    return manifest.model_copy(update={"updates": lines})


def without_line(manifest: Manifest, seq: int) -> Manifest:
    """Leave one update's line out of a manifest."""
    return manifest.model_copy(update={"updates": tuple(line for line in manifest.updates if line.seq != seq)})


def with_entry(plan: Plan, seq: int, **changes: Any) -> Plan:
    """Change one update's entry in a plan."""
    updates = tuple(replace(one, **changes) if one.seq == seq else one for one in plan.updates)
    return replace(plan, updates=updates)
