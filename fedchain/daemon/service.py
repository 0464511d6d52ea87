"""A daemon's service: what node and aggregator have in common behind their web face."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry

from fedchain.core.backoff import Backoff
from fedchain.core.errors import ConfigError, FedchainError
from fedchain.core.ledger.records import Address, Seq
from fedchain.replica.follower import Follower


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a service looks around; all in seconds."""

    retry_s: float = 1.0
    """Wait after a first failure; it doubles with each one that follows."""
    retry_cap_s: float = 30.0
    """The longest wait after failures."""
    idle_s: float = 10.0
    """Look around at least so often, even if the ledger tells nothing new."""
    random: Callable[[], float] = random.random
    """Draws the waits' jitter, from 0 up to 1."""

    def backoff(self) -> Backoff:
        """Return the waits of one loop."""
        return Backoff(self.retry_s, self.retry_cap_s, self.random)


@dataclass(slots=True)
class Activity:
    """What a service is doing just now."""

    doing: str = "starting"
    last_error: str | None = None
    """What failed and is going to be tried again; None once it has worked."""


class Service(ABC):
    """One member at work on one federation."""

    def __init__(self, member: Address, follower: Follower) -> None:
        self.registry = CollectorRegistry()
        """Its metrics."""
        self.follower = follower
        self.activity = Activity()
        self._member = member
        self._paused = False

    @abstractmethod
    async def run(self) -> None:
        """Work until cancelled; on cancellation, leave everything as a restart wants it."""

    def status(self) -> dict[str, Any]:
        """Describe the state for people and programs, as JSON."""
        history = self.follower.history
        return {
            "member": self._member,
            "doing": self.activity.doing,
            "records": history.length,
            "head": history.head.hex(),
            "not_ready": self.not_ready(),
        }

    def not_ready(self) -> str | None:
        """Say why the service cannot do its work just now; None when it can."""
        return self.activity.last_error or self.blocked()

    def blocked(self) -> str | None:
        """Say what keeps the service from its work though everybody answers."""
        history = self.follower.history
        if self.follower.faults:
            return f"the ledger holds a version that does not follow from it: {self.follower.faults[0]}"
        if not history.applied:
            return "genesis is not published yet: the aggregator's key does that with `fedchain genesis`"
        try:
            history.policy(Seq(history.length))
        except FedchainError as error:  # none is set yet
            return str(error)
        return "paused" if self._paused else None

    def control(self, action: str) -> None:
        """Carry out `pause` or `resume`; raises ConfigError for anything else."""
        if action not in ("pause", "resume"):
            raise ConfigError(f"control has pause and resume, not {action}")
        self._paused = action == "pause"

    def is_member(self, member: Address) -> bool:
        """Tell whether an address has a role now."""
        history = self.follower.history
        return bool(history.members.roles(member, Seq(history.length)))
