"""What node.toml may say."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from fedchain.config.settings import DaemonConfig, Seconds, Table
from fedchain.node.options import NodeOptions


class TrainingConfig(Table):
    """How this machine trains."""

    device: str = Field("auto", description='"auto" takes CUDA when there is one; or a torch device, as in "cuda:1"')
    threads: int | None = Field(None, ge=1, description="CPU threads for torch; without it, torch chooses")
    bf16: bool = Field(False, description="train under bfloat16 autocast; the model stays float32")
    compile: bool = Field(False, description="compile the model with torch.compile")
    seed: int = Field(0, ge=0, lt=2**32, description="start of this site's seeds: each training has its own")
    steps: int | None = Field(None, ge=1, description="optimiser steps per training; without it, the task decides")
    at_least_s: Seconds | None = Field(None, description="least seconds per training: spares a machine with other work")


class NodeConfig(DaemonConfig):
    """A site's node."""

    task: str = Field(description="the task, as module:Class; the module may lie beside this file")
    verify: Literal["head", "replay"] = Field(
        "head", description='"head" checks records and manifests; "replay" recomputes every version and attests it'
    )
    evaluate: bool = Field(True, description="evaluate each new version on data that this site holds back")
    report: bool = Field(False, description="put the evaluations on the ledger")
    training: TrainingConfig = Field(default_factory=TrainingConfig)
    site: dict[str, Any] = Field(default_factory=dict, description="settings of the task: data, batch size, …")

    @property
    def options(self) -> NodeOptions:
        """What of it the node itself needs."""
        own = self.training
        return NodeOptions(self.verify, self.evaluate, self.report, own.seed, own.steps, own.at_least_s or 0.0)
