from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from simulation.bare import BareFederation

from fedchain.core.ledger.records import Address
from fedchain.core.rules.policy import AdmissionRules, Policy, preset

SITES = [Address("0x" + f"{number:02x}" * 20) for number in (1, 2, 3)]


@pytest.fixture(scope="session")
def begin_real() -> Callable[..., BareFederation]:
    """Two updates in a buffer of FedBuff, unless a preset or rules of admission say otherwise."""

    def of(name: str = "fedbuff", **changes: Any) -> BareFederation:
        rules = {key: changes.pop(key) for key in AdmissionRules.model_fields if key in changes}
        policy = preset(name, **{"size": 2, "timeout_s": 60} | changes)
        admission = policy.admission.model_copy(update=rules)
        return BareFederation(Policy(**{**dict(policy), "admission": admission}), SITES)

    return of
