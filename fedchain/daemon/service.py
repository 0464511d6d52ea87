"""A daemon's service: what node and aggregator have in common behind their web face."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from prometheus_client import CollectorRegistry

from fedchain.core.errors import ConfigError, FedchainError
from fedchain.core.ledger.records import Address, Seq
from fedchain.replica.follower import Follower


class Service(ABC):
    """One member at work on one federation."""

    def __init__(self, member: Address, follower: Follower) -> None:
        self.registry = CollectorRegistry()
        """Its metrics."""
        self.follower = follower
        self._member = member
        self._doing = "starting"
        self._last_error: str | None = None
        self._paused = False

    @abstractmethod
    async def run(self) -> None:
        """Work until cancelled; on cancellation, leave everything as a restart wants it."""

    def status(self) -> dict[str, Any]:
        """Describe the state for people and programs, as JSON."""
        history = self.follower.history
        return {
            "member": self._member,
            "doing": self._doing,
            "records": history.length,
            "head": history.head.hex(),
            "not_ready": self.not_ready(),
        }

    def not_ready(self) -> str | None:
        """Say why the service cannot do its work just now; None when it can."""
        return self._last_error or self.blocked()

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
