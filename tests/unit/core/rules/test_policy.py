from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from fedchain.core.errors import FormatError
from fedchain.core.rules.policy import AdmissionRules, BufferRules, Policy, fedasync, fedavg, fedbuff, preset
from fedchain.core.strategies.mean import Mean
from fedchain.core.strategies.mixing import Mixing
from fedchain.core.strategies.registry import PRESETS, STRATEGIES
from fedchain.core.strategies.staleness import Constant, Hinge
from fedchain.core.updates.encodings.q24 import Q24

Make = Callable[..., Any]

FLAT = {"function": "constant"}


def mean(**changes: object) -> dict[str, object]:
    """FedBuff's strategy as a document, with changes."""
    strategy: dict[str, object] = json.loads(fedbuff().canonical())["strategy"]
    return strategy | changes


@pytest.mark.parametrize("name", PRESETS)
def test_policies_are_canonical_json(name: str) -> None:
    policy = preset(name)
    assert Policy.parse(policy.canonical()) == policy
    document = json.loads(policy.canonical())
    assert policy.canonical() == json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def test_a_policy_by_hand() -> None:
    assert fedbuff(size=10, rate=0.5).canonical() == (
        b'{"admission":{"max_change":null,"max_norm":null,"max_staleness":16,"updates_per_site":null},'
        b'"buffer":{"per_site":1,"size":10,"timeout_s":3600},"encodings":[{"name":"q24"}],'
        b'"format":"fedchain/policy/2","sealing":"none","strategy":{"name":"mean","normalise":"count","rate":0.5,'
        b'"staleness":{"exponent":"1/2","function":"polynomial"},"weighting":"uniform"}}'
    )


@pytest.mark.parametrize(
    ("change", "messages"),
    [
        ({"strategy": {"name": "krum"}}, ["strategy", "'krum'", ", ".join(map(repr, STRATEGIES))]),
        ({"strategy": {"rate": 1}}, ["strategy", "'name'"]),
        ({"strategy": mean(rate=0)}, ["strategy.mean.rate = 0", "greater than 0"]),
        ({"strategy": mean(rate=-1.5)}, ["strategy.mean.rate = -1.5"]),
        ({"strategy": mean(rate="1")}, ["strategy.mean.rate = '1'", "number"]),
        ({"strategy": mean(beta=1)}, ["strategy.mean.beta is not a known key"]),
        ({"colour": "red"}, ["colour is not a known key"]),
        ({"buffer": {"size": 0, "timeout_s": 1, "per_site": 1}}, ["buffer.size", "= 0", "greater than or equal to 1"]),
        ({"buffer": {"size": 2**15, "timeout_s": 1, "per_site": 1}}, ["buffer.size", "= 32768", "less than 32768"]),
        ({"buffer": {"size": "many", "timeout_s": 1, "per_site": 1}}, ["buffer.size", "'many'", "'all'"]),
        ({"buffer": {"size": 1, "timeout_s": 0, "per_site": 1}}, ["buffer.timeout_s = 0"]),
        ({"buffer": {"size": 1, "timeout_s": 1, "per_site": 1.5}}, ["buffer.per_site = 1.5", "integer"]),
        ({"buffer": {"size": 1, "timeout_s": 1}}, ["buffer.per_site", "required"]),
        ({"admission": {"max_staleness": True}}, ["admission.max_staleness = True", "integer"]),
        ({"admission": {"max_staleness": -1}}, ["admission.max_staleness = -1"]),
        ({"admission": {"max_staleness": 1, "max_norm": 0}}, ["admission.max_norm = 0"]),
        (
            {"strategy": mean(staleness={"function": "cosine"})},
            ["staleness", "cosine", "'constant', 'hinge', 'polynomial'"],
        ),
        (
            {"strategy": mean(staleness={"function": "polynomial", "exponent": "3"})},
            ["exponent = '3'", "'1/2', '1' or '2'"],
        ),
        ({"sealing": "hpke"}, ["sealing = 'hpke'"]),
        ({"format": "fedchain/policy/1"}, ["format = 'fedchain/policy/1'"]),
        ({"strategy": {"name": "mixing", "rate": 1, "staleness": FLAT}}, ["buffer.size must be 1, not 10"]),
        ({"strategy": mean(weighting="samples")}, ["weighting by samples needs normalise = weights"]),
        ({"encodings": []}, ["encodings", "at least 1"]),
        ({"encodings": [{"name": "q24"}, {"name": "q24"}]}, ["encodings names one twice: q24, q24"]),
        ({"encodings": [{"name": "gzip"}]}, ["encodings.0", "'gzip'"]),
    ],
    ids=str,
)
def test_what_no_policy_has_is_named_with_its_value_and_what_is_allowed(
    change: dict[str, object], messages: list[str]
) -> None:
    document = json.loads(fedbuff().canonical()) | change
    with pytest.raises(FormatError) as raised:
        Policy.parse(json.dumps(document).encode())
    assert str(raised.value).startswith("policy: ")
    for message in messages:
        assert message in str(raised.value)


def test_all_that_is_wrong_is_named_at_once() -> None:
    document = json.loads(fedbuff().canonical()) | {"strategy": mean(rate=0), "colour": "red"}
    with pytest.raises(FormatError, match=r"strategy\.mean\.rate = 0: .*; colour is not a known key"):
        Policy.parse(json.dumps(document).encode())


def test_one_policy_has_one_form() -> None:
    canonical = fedbuff().canonical()
    document = json.loads(canonical)
    del document["admission"]["max_norm"]
    for data in (
        json.dumps(document, sort_keys=True, separators=(",", ":")).encode(),
        canonical.replace(b'"rate":1', b'"rate":1.0'),
        canonical + b" ",
        canonical.replace(b'"format"', b'"format":"fedchain/policy/2","format"'),
    ):
        assert data != canonical
        with pytest.raises(FormatError, match="not in canonical form"):
            Policy.parse(data)


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"{", b"[]", b"null", b"[" * 100_000, b'{"rate":1e999}'])
def test_bytes_that_are_no_policy(data: bytes) -> None:
    with pytest.raises(FormatError, match="policy: "):
        Policy.parse(data)


def test_algorithms_are_parameters() -> None:
    assert (fedasync().buffer.size, fedasync().strategy) == (1, Mixing())
    assert (fedbuff().buffer.size, fedbuff().strategy) == (10, Mean())
    weighted = Mean(staleness=Constant(), weighting="samples", normalise="weights")
    assert (fedavg().buffer.size, fedavg().strategy, fedavg().admission.max_staleness) == ("all", weighted, 0)


def test_a_preset_takes_what_is_given_and_leaves_the_rest() -> None:
    policy = preset("fedbuff", size=3, max_staleness=0, timeout_s=9, per_site=2, rate=0.5)
    assert policy == Policy(
        buffer=BufferRules(size=3, timeout_s=9, per_site=2),
        admission=AdmissionRules(max_staleness=0),
        strategy=Mean(rate=0.5),
    )
    with pytest.raises(ValidationError, match="beta"):
        preset("fedbuff", beta=1)


def test_parameters_that_are_objects_or_documents_are_the_same_policy() -> None:
    """A policy made in Python has its strategy's class, so nothing is lost on the way to JSON."""
    policy = preset("fedbuff", staleness=Hinge(function="hinge", a=3, b=1))
    assert b'"staleness":{"a":3,"b":1,"function":"hinge"}' in policy.canonical()
    again = Policy.parse(policy.canonical())
    assert (type(again.strategy), type(again.encodings[0])) == (Mean, Q24)
