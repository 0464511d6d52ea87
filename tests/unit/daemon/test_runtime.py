"""A member without a chain; with one, tests/e2e runs whole daemons."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedchain.aggregator.settings import AggregatorConfig
from fedchain.config.federation import FederationFile, save_federation
from fedchain.config.settings import load_settings
from fedchain.core.errors import ConfigError, LedgerUnreachable
from fedchain.crypto.keys import DEVNET, create_key
from fedchain.daemon.runtime import open_member

CONFIG = """
ledger.federation = "federation.toml"
key = {file = "key.json", password_file = "password"}
web.port = 8700
"""


@pytest.fixture
def config(tmp_path: Path) -> AggregatorConfig:
    file = FederationFile(rpc="http://127.0.0.1:9", chain_id=31337, contract="0x" + "11" * 20, block=1)
    save_federation(tmp_path / "federation.toml", file)
    (tmp_path / "password").write_text("secret\n")
    create_key(tmp_path / "key.json", "secret", DEVNET)
    (tmp_path / "aggregator.toml").write_text(CONFIG)
    return load_settings(tmp_path / "aggregator.toml", AggregatorConfig)


async def test_a_chain_that_does_not_answer_leaves_nothing_open(config: AggregatorConfig) -> None:
    with pytest.raises(LedgerUnreachable, match=r"127\.0\.0\.1:9 does not answer"):
        async with open_member(config):
            pytest.fail("there is no ledger")


async def test_a_wrong_password_is_said_before_anything_is_opened(config: AggregatorConfig, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("wrong\n")
    with pytest.raises(ConfigError, match="the key does not open"):
        async with open_member(config):
            pytest.fail("there is no key")
    assert not (tmp_path / "state").exists()
