from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from fedchain.core.errors import FormatError
from fedchain.core.rules.policy import Policy, fedasync, fedavg, fedbuff

Make = Callable[..., Any]


@pytest.mark.parametrize("policy", [fedasync(), fedbuff(), fedavg()], ids=["fedasync", "fedbuff", "fedavg"])
def test_policies_are_canonical_json(policy: Policy) -> None:
    assert Policy.parse(policy.canonical()) == policy
    document = json.loads(policy.canonical())
    assert policy.canonical() == json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def test_a_policy_by_hand() -> None:
    assert fedbuff(size=10, rate=0.5).canonical() == (
        b'{"admission":{"max_change":null,"max_norm":null,"max_staleness":16,"updates_per_site":null},'
        b'"buffer":{"per_site":1,"size":10,"timeout_s":3600},"combiner":"mean","format":"fedchain/policy/1",'
        b'"normalise":"count","rate":0.5,"sealing":"none","staleness":{"exponent":"1/2","function":"polynomial"},'
        b'"weighting":"uniform"}'
    )


@pytest.mark.parametrize(
    ("change", "messages"),
    [
        ({"combiner": "median"}, ["combiner = 'median'", "'mean' or 'mixing'"]),
        ({"rate": 0}, ["rate = 0", "greater than 0"]),
        ({"rate": -1.5}, ["rate = -1.5"]),
        ({"rate": "1"}, ["rate = '1'", "number"]),
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
        ({"staleness": {"function": "cosine"}}, ["staleness", "cosine", "'constant', 'hinge', 'polynomial'"]),
        ({"staleness": {"function": "polynomial", "exponent": "3"}}, ["exponent = '3'", "'1/2', '1' or '2'"]),
        ({"sealing": "hpke"}, ["sealing = 'hpke'"]),
        ({"format": "fedchain/policy/2"}, ["format = 'fedchain/policy/2'"]),
        ({"combiner": "mixing"}, ["buffer.size must be 1, not 10"]),
        ({"weighting": "samples"}, ["weighting by samples needs normalise = weights"]),
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
    document = json.loads(fedbuff().canonical()) | {"rate": 0, "colour": "red"}
    with pytest.raises(FormatError, match=r"rate = 0: .*; colour is not a known key"):
        Policy.parse(json.dumps(document).encode())


def test_one_policy_has_one_spelling() -> None:
    canonical = fedbuff().canonical()
    document = json.loads(canonical)
    del document["admission"]["max_norm"]
    for data in (
        json.dumps(document, sort_keys=True, separators=(",", ":")).encode(),
        canonical.replace(b'"rate":1', b'"rate":1.0'),
        canonical + b" ",
        canonical.replace(b'"format"', b'"format":"fedchain/policy/1","format"'),
    ):
        assert data != canonical
        with pytest.raises(FormatError, match="not in canonical form"):
            Policy.parse(data)


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"{", b"[]", b"null", b"[" * 100_000, b'{"rate":1e999}'])
def test_bytes_that_are_no_policy(data: bytes) -> None:
    with pytest.raises(FormatError, match="policy: "):
        Policy.parse(data)


def test_the_three_strategies_are_parameters() -> None:
    assert (fedasync().buffer.size, fedasync().combiner) == (1, "mixing")
    assert (fedbuff().buffer.size, fedbuff().normalise) == (10, "count")
    assert (fedavg().buffer.size, fedavg().weighting, fedavg().admission.max_staleness) == ("all", "samples", 0)
