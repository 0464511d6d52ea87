"""What aggregator.toml may say."""

from __future__ import annotations

from pydantic import Field

from fedchain.config.settings import DaemonConfig, Seconds


class AggregatorConfig(DaemonConfig):
    """An aggregator: contract, key and peers are all it needs."""

    threads: int = Field(2, ge=1, le=64, description="threads that merge; their number changes no bit of a model")
    unavailable_after_s: Seconds = Field(
        60.0, description="seconds after which an update that no peer has is stated as unavailable"
    )
