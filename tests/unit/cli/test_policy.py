from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fedchain.cli.policy import EPILOG, named_policy, read_policy
from fedchain.core.errors import ConfigError
from fedchain.core.rules.policy import Policy, fedasync, fedbuff, preset
from fedchain.core.strategies.registry import PRESETS
from fedchain.core.strategies.staleness import Hinge
from fedchain.core.updates.encodings.registry import ENCODINGS

LIMITS = {"size": 7, "max_staleness": 3, "timeout_s": 60}


@pytest.mark.parametrize(
    ("name", "rate", "policy"),
    [
        ("fedbuff", None, fedbuff(size=7, max_staleness=3, timeout_s=60)),
        ("fedbuff", 0.5, fedbuff(size=7, rate=0.5, max_staleness=3, timeout_s=60)),
        ("fedasync", None, fedasync(max_staleness=3, timeout_s=60)),
        ("fedasync", 0.5, fedasync(alpha=0.5, max_staleness=3, timeout_s=60)),
        ("median", 2, preset("median", size=7, max_staleness=3, timeout_s=60, rate=2.0)),
        ("fedavg", None, preset("fedavg", size=7, max_staleness=3, timeout_s=60)),
    ],
)
def test_an_algorithm_is_a_policy(name: str, rate: float | None, policy: Policy) -> None:
    settings = [] if rate is None else [f"rate={rate}"]
    limits = LIMITS | ({"size": 1} if name == "fedasync" else {})
    assert named_policy(name, settings, [], **limits) == policy


def test_settings_are_json_where_they_are_that() -> None:
    staleness = 'staleness={"function":"hinge","a":3,"b":1}'
    policy = named_policy("fedbuff", [staleness, "normalise=weights", 'weighting="samples"'], ["q24"])
    assert policy == preset(
        "fedbuff", staleness=Hinge(function="hinge", a=3, b=1), normalise="weights", weighting="samples"
    )


def test_the_help_names_every_algorithm_with_its_parameters() -> None:
    words = " ".join(EPILOG.split())
    for name, one in PRESETS.items():
        assert f"{name}: {one.summary}" in words
        for key, field in type(one.parameters).model_fields.items():
            if key != "name":
                assert f"--set {key}=" in words
                assert str(field.description) in words


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("fedprox", {}, "unknown --algorithm 'fedprox'; choose from fedbuff, fedavg, fedasync, median"),
        ("fedbuff", {"size": 0}, "policy fedbuff: size"),
        ("fedbuff", {"settings": ["rate=-1"]}, "policy fedbuff: rate = -1: input should be greater than 0"),
        ("fedbuff", {"settings": ["rate=1e999"]}, "policy fedbuff: rate = inf"),
        ("fedbuff", {"settings": ["rate=fast"]}, "policy fedbuff: rate = 'fast': input should be a valid number"),
        ("fedbuff", {"settings": ["rate"]}, "--set rate: expected NAME=VALUE, as in --set rate=0.5"),
        ("fedbuff", {"settings": ["beta=1"]}, "unknown --set beta; fedbuff has normalise, rate, staleness, weighting"),
        ("fedbuff", {"settings": ["name=mixing"]}, "unknown --set name; fedbuff has normalise, rate"),
        ("fedbuff", {"encodings": ["gzip"]}, f"unknown --encoding 'gzip'; choose from {', '.join(ENCODINGS)}"),
        ("fedbuff", {"encodings": ["q24", "q24"]}, "policy fedbuff: "),
        ("fedasync", {"size": 7}, "policy fedasync: "),
        ("fedasync", {"max_staleness": -1}, "policy fedasync: max_staleness = -1"),
        ("fedavg", {"timeout_s": 0}, "policy fedavg: timeout_s = 0"),
    ],
)
def test_a_wrong_value_is_named(name: str, change: dict[str, Any], message: str) -> None:
    limits = {"size": None, "max_staleness": None} if name == "fedasync" else LIMITS
    with pytest.raises(ConfigError) as caught:
        named_policy(name, **({"settings": [], "encodings": []} | limits | change))
    assert message in str(caught.value)


def test_a_policy_file_may_be_in_any_json_form(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(fedbuff(size=3).model_dump(mode="json"), indent=4))
    assert read_policy(path) == fedbuff(size=3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strategy": {"name": "median", "rate": 0}}, "strategy.median.rate = 0: input should be greater than 0"),
        ({"strategy": {"name": "krum"}}, "does not match any of the expected tags: 'mean', 'mixing', 'median'"),
        ({"colour": "red"}, "colour is not a known key"),
        ({"buffer": {"size": 1, "timeout_s": 1}}, "buffer.per_site: field required"),
        ({"strategy": {"name": "mean", "weighting": "samples"}}, "weighting by samples needs normalise = weights"),
    ],
)
def test_a_policy_file_with_a_wrong_value(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(fedbuff(size=3).model_dump(mode="json") | change))
    with pytest.raises(ConfigError) as caught:
        read_policy(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"\xff", b"[]", b"{"])
def test_a_file_that_is_no_policy(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "policy.json"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=r"policy\.json: "):
        read_policy(path)
