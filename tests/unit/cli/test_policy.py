from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedchain.cli.policy import named_policy, read_policy
from fedchain.core.errors import ConfigError
from fedchain.core.rules.policy import Policy, fedasync, fedavg, fedbuff

LIMITS = {"size": 7, "max_staleness": 3, "timeout_s": 60}


@pytest.mark.parametrize(
    ("name", "rate", "policy"),
    [
        ("fedbuff", None, fedbuff(size=7, max_staleness=3, timeout_s=60)),
        ("fedbuff", 0.5, fedbuff(size=7, rate=0.5, max_staleness=3, timeout_s=60)),
        ("fedasync", None, fedasync(max_staleness=3, timeout_s=60)),
        ("fedasync", 0.5, fedasync(alpha=0.5, max_staleness=3, timeout_s=60)),
        ("fedavg", None, fedavg(timeout_s=60)),
    ],
)
def test_an_algorithm_is_a_policy(name: str, rate: float | None, policy: Policy) -> None:
    assert named_policy(name, rate=rate, **LIMITS) == policy


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("fedprox", {}, "unknown --algorithm 'fedprox'; choose from fedbuff, fedasync, fedavg"),
        ("fedbuff", {"size": 0}, "policy fedbuff: size"),
        ("fedbuff", {"rate": -1.0}, "policy fedbuff: rate = -1.0: input should be greater than 0"),
        ("fedbuff", {"rate": float("inf")}, "policy fedbuff: rate = inf"),
        ("fedasync", {"max_staleness": -1}, "policy fedasync: max_staleness = -1"),
        ("fedavg", {"timeout_s": 0}, "policy fedavg: timeout_s = 0"),
    ],
)
def test_a_wrong_value_is_named(name: str, change: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        named_policy(name, **({"rate": None} | LIMITS | change))  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_a_policy_file_may_be_spelt_as_people_do(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(fedbuff(size=3).model_dump(mode="json"), indent=4))
    assert read_policy(path) == fedbuff(size=3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rate": 0}, "rate = 0: input should be greater than 0"),
        ({"combiner": "median"}, "combiner = 'median': input should be 'mean' or 'mixing'"),
        ({"colour": "red"}, "colour is not a known key"),
        ({"buffer": {"size": 1, "timeout_s": 1}}, "buffer.per_site: field required"),
        ({"weighting": "samples"}, "weighting by samples needs normalise = weights"),
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
