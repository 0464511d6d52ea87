"""The policy: the document that fixes how updates are admitted and merged."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fedchain.core.formats.document import Count, Document
from fedchain.core.strategies.staleness import Constant, Polynomial, Staleness

Positive = Annotated[int, Field(ge=1, lt=2**31)]
Rate = Annotated[float, Field(gt=0)]


class BufferRules(Document):
    """When a buffer closes."""

    size: Annotated[int, Field(ge=1, lt=2**15)] | Literal["all"]
    """Admitted updates that close it (K); "all": as many as there are trainers when it opens."""
    timeout_s: Positive
    """Seconds of block time after its first admitted update, from when on a BufferClosed record closes it."""
    per_site: Positive
    """Updates admitted from one site into one buffer."""


class AdmissionRules(Document):
    """What an update must satisfy besides being well-formed."""

    max_staleness: Count
    max_change: Rate | None = None
    """Largest change of any one parameter, in the parameter's units; None: what int32 holds."""
    max_norm: Rate | None = None
    """Largest Euclidean norm of the whole change; None: unbounded."""
    updates_per_site: Positive | None = None
    """Updates admitted from one site over the federation's life: with a privacy cost per update, the budget."""


class Policy(Document):
    """One policy: FedAsync, FedBuff and FedAvg are values of it, not code."""

    format: Literal["fedchain/policy/1"] = "fedchain/policy/1"
    buffer: BufferRules
    staleness: Staleness
    weighting: Literal["uniform", "samples"]
    """Whether an update weighs s(τ), or s(τ) times the samples that its site states."""
    normalise: Literal["weights", "count"]
    """Divide the sum by the weights' sum (a mean), or by the number of updates (stale ones then count less)."""
    combiner: Literal["mean", "mixing"]
    rate: Annotated[float, Field(gt=0, le=1000)]
    """Server learning rate η of the mean; mixing rate α of mixing."""
    admission: AdmissionRules
    sealing: Literal["none"] = "none"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.weighting == "samples" and self.normalise == "count":
            raise ValueError("weighting by samples needs normalise = weights: a count of updates has no samples")
        if self.combiner == "mixing" and self.buffer.size != 1:
            raise ValueError(f"mixing takes one change at a time: buffer.size must be 1, not {self.buffer.size}")
        return self


def fedasync(*, alpha: float = 0.6, max_staleness: int = 16, timeout_s: int = 3600) -> Policy:
    """FedAsync: every update at once, x' = (1 - α s(τ)) x + α s(τ) x_site (Xie et al. 2019, algorithm 1)."""
    return Policy(
        buffer=BufferRules(size=1, timeout_s=timeout_s, per_site=1),
        staleness=Polynomial(function="polynomial", exponent="1/2"),
        weighting="uniform",
        normalise="count",
        combiner="mixing",
        rate=alpha,
        admission=AdmissionRules(max_staleness=max_staleness),
    )


def fedbuff(
    *, size: int = 10, per_site: int = 1, rate: float = 1.0, max_staleness: int = 16, timeout_s: int = 3600
) -> Policy:
    """FedBuff: K updates, x' = x + η/K · Σ s(τ_i) u_i, s = 1/√(1+τ) (Nguyen et al. 2022, algorithm 1)."""
    return Policy(
        buffer=BufferRules(size=size, timeout_s=timeout_s, per_site=per_site),
        staleness=Polynomial(function="polynomial", exponent="1/2"),
        weighting="uniform",
        normalise="count",
        combiner="mean",
        rate=rate,
        admission=AdmissionRules(max_staleness=max_staleness),
    )


def fedavg(*, timeout_s: int = 3600) -> Policy:
    """FedAvg: one update of every trainer, x' = x + Σ n_i u_i / Σ n_i (McMahan et al. 2017, algorithm 1)."""
    return Policy(
        buffer=BufferRules(size="all", timeout_s=timeout_s, per_site=1),
        staleness=Constant(),
        weighting="samples",
        normalise="weights",
        combiner="mean",
        rate=1.0,
        admission=AdmissionRules(max_staleness=0),
    )
