"""The policy: the document that fixes how updates are admitted and merged."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, SerializeAsAny, model_validator

from fedchain.core.formats.document import Count, Document
from fedchain.core.strategies.registry import PRESETS, AnyParameters
from fedchain.core.strategies.strategy import Size
from fedchain.core.updates.encodings.q24 import Q24
from fedchain.core.updates.encodings.registry import AnyEncoding

Positive = Annotated[int, Field(ge=1, lt=2**31)]
Bound = Annotated[float, Field(gt=0)]


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
    max_change: Bound | None = None
    """Largest change of any one parameter, in the parameter's units; None: what int32 holds."""
    max_norm: Bound | None = None
    """Largest Euclidean norm of the whole change; None: unbounded."""
    updates_per_site: Positive | None = None
    """Updates admitted from one site over the federation's life: with a privacy cost per update, the budget."""


class Policy(Document):
    """One policy: FedAsync, FedBuff and FedAvg are values of it, not code."""

    format: Literal["fedchain/policy/2"] = "fedchain/policy/2"
    buffer: BufferRules
    admission: AdmissionRules
    strategy: SerializeAsAny[AnyParameters]
    encodings: Annotated[tuple[SerializeAsAny[AnyEncoding], ...], Field(min_length=1, strict=False)] = (Q24(),)
    """What updates may be encoded in; nodes write the first."""
    sealing: Literal["none"] = "none"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if problem := self.strategy.conflict(self.buffer.size):
            raise ValueError(problem)
        names = [encoding.name for encoding in self.encodings]
        if len(set(names)) < len(names):
            raise ValueError(f"encodings names one twice: {', '.join(names)}")
        return self


def preset(
    name: str,
    *,
    size: Size | None = None,
    per_site: int = 1,
    max_staleness: int | None = None,
    timeout_s: int = 3600,
    **parameters: object,
) -> Policy:
    """Make the policy of an algorithm (`registry.PRESETS`); None leaves what the algorithm is known with.

    `parameters` are the strategy's own. Raises pydantic's ValidationError.
    """
    known = PRESETS[name]
    values = {key: getattr(known.parameters, key) for key in type(known.parameters).model_fields} | parameters
    return Policy(
        buffer=BufferRules(size=known.size if size is None else size, timeout_s=timeout_s, per_site=per_site),
        admission=AdmissionRules(max_staleness=known.max_staleness if max_staleness is None else max_staleness),
        strategy=type(known.parameters).model_validate(values),
    )


def fedasync(*, alpha: float = 0.6, max_staleness: int = 16, timeout_s: int = 3600) -> Policy:
    """FedAsync: every update at once, x' = (1 - α s(τ)) x + α s(τ) x_site (Xie et al. 2019, algorithm 1)."""
    return preset("fedasync", rate=alpha, max_staleness=max_staleness, timeout_s=timeout_s)


def fedbuff(
    *, size: int = 10, per_site: int = 1, rate: float = 1.0, max_staleness: int = 16, timeout_s: int = 3600
) -> Policy:
    """FedBuff: K updates, x' = x + η/K · Σ s(τ_i) u_i, s = 1/√(1+τ) (Nguyen et al. 2022, algorithm 1)."""
    return preset("fedbuff", size=size, per_site=per_site, rate=rate, max_staleness=max_staleness, timeout_s=timeout_s)


def fedavg(*, timeout_s: int = 3600) -> Policy:
    """FedAvg: one update of every trainer, x' = x + Σ n_i u_i / Σ n_i (McMahan et al. 2017, algorithm 1)."""
    return preset("fedavg", timeout_s=timeout_s)
