from __future__ import annotations

import pytest

from fedchain.cli.deploy import read_confirmations
from fedchain.core.errors import ConfigError


@pytest.mark.parametrize(("text", "expected"), [(None, None), ("0", 0), ("12", 12), ("finalized", "finalized")])
def test_confirmations_are_read(text, expected):
    assert read_confirmations(text) == expected


@pytest.mark.parametrize("text", ["-1", "final", "1.5", "", "²"])
def test_wrong_confirmations_are_named(text):
    with pytest.raises(ConfigError, match=f"--confirmations {text}: expected a number of blocks, or finalized"):
        read_confirmations(text)
