from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from unit.replica.adding import Adding

from fedchain.core.rules.policy import AdmissionRules, Policy, preset


@pytest.fixture(scope="session")
def begin_real() -> Callable[..., Adding]:
    """Two updates in a buffer of FedBuff, unless a preset or rules of admission say otherwise."""

    def of(name: str = "fedbuff", **changes: Any) -> Adding:
        rules = {key: changes.pop(key) for key in AdmissionRules.model_fields if key in changes}
        policy = preset(name, **{"size": 2, "timeout_s": 60} | changes)
        admission = policy.admission.model_copy(update=rules)
        return Adding(Policy(**{**dict(policy), "admission": admission}))

    return of
