from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from fedchain.core.errors import FormatError
from fedchain.core.ledger.content import CHUNK_SIZE
from fedchain.core.rules.judged import Decision, Inspection
from fedchain.core.rules.manifest import Manifest, differences, genesis_manifest, manifest_of, update_line
from fedchain.core.strategies.merge import Merged
from fedchain.replica.recompute import plan_again

Make = Callable[..., Any]


@pytest.fixture
def story(begin: Make, policy: Make) -> Any:
    told = begin(policy(size=2, max_norm=1.0))
    told.found[told.update(1)] = Inspection(Decision.MALFORMED)
    told.found[told.update(2, samples=7)] = Inspection(None, max_abs=3, norm2=2**59)
    told.found[told.update(3)] = Inspection(None, max_abs=2**60, norm2=0)
    return told


@pytest.fixture
def manifest(story: Any) -> Manifest:
    return manifest_of(story.history.federation, story.plan(), Merged(story.content()))


def test_a_manifest_is_canonical_json(manifest: Manifest) -> None:
    document = json.loads(manifest.canonical())
    assert manifest.canonical() == json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    assert Manifest.parse(manifest.canonical()) == manifest
    assert document["updates"][1] == {
        "seq": 8,
        "site": "0x" + "02" * 20,
        "cid": manifest.updates[1].cid,
        "size": 100,
        "base": 0,
        "samples": 7,
        "decision": "merged",
        "staleness": 0,
        "weights": [65536],
        "max_abs": "3",
        "norm2": str(2**59),
    }
    assert document["updates"][0]["max_abs"] is None
    assert document["updates"][0]["norm2"] is None
    assert (document["updates"][0]["weights"], document["updates"][2]["weights"]) == ([], [65536])
    assert (document["divisors"], document["integers"]) == ([131072], {})
    assert (document["gram"], document["state"], document["policy"]) == (None, None, 1)


def test_what_a_manifest_says_of_contents_is_read_back(story: Any, manifest: Manifest) -> None:
    assert manifest.inspections == story.found


def test_a_plan_is_read_back(story: Any, manifest: Manifest) -> None:
    plan = story.plan()
    assert tuple(update_line(update).judged for update in plan.updates) == plan.updates
    assert story.publish() == []
    assert plan_again(story.manifests[-1], story.manifests[-2], story.history) == plan


def test_two_spellings_of_one_manifest_are_refused(manifest: Manifest) -> None:
    document = json.loads(manifest.canonical())
    for data in (
        json.dumps(document).encode(),
        manifest.canonical() + b"\n",
        b" " + manifest.canonical(),
        manifest.canonical().replace(b'"size":100', b'"size":"100"'),
    ):
        with pytest.raises(FormatError, match="not in canonical form"):
            Manifest.parse(data)


def test_numbers_beyond_jsons_are_spelt_as_digits(manifest: Manifest) -> None:
    first = manifest.updates[0]
    for number, spelling in [(2**53 - 1, b"9007199254740991"), (2**53, b'"9007199254740992"')]:
        line = first.model_copy(update={"samples": number})
        changed = manifest.model_copy(update={"updates": (line,)})
        assert b'"samples":' + spelling in changed.canonical()
        assert Manifest.parse(changed.canonical()) == changed


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("divisors", [-1], "divisors.0 = -1"),
        ("divisors", ["2"], "divisors.0 = '2'"),
        ("divisors", [2**53], f"divisors.0 = {2**53}"),
        ("integers", {"scale": "1" * 81}, "integers.scale = '1"),
        ("integers", {"scale": 1}, "integers.scale = 1"),
        ("gram", [["01"]], "gram.0.0 = '01'"),
        ("gram", [[1]], "gram.0.0 = 1"),
        ("state", {"velocity": "bafy"}, "state.velocity"),
        ("policy", -1, "policy = -1"),
        ("surprise", 1, "surprise is not a known key"),
        ("sealing", "hpke", "sealing = 'hpke'"),
        ("result", {"cid": "bafy", "size": 1}, "not a CID"),
    ],
)
def test_what_no_manifest_has_is_named(manifest: Manifest, key: str, value: object, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        Manifest.parse(json.dumps(json.loads(manifest.canonical()) | {key: value}).encode())


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("size", CHUNK_SIZE + 1, "cannot name 1048577 bytes"),
        ("size", 2**64, "updates.0.size"),
        ("samples", "18446744073709551616", "updates.0.samples"),
        ("samples", "1" * 5000, "updates.0.samples"),
        ("max_abs", "1" * 5000, "updates.0.max_abs"),
        ("max_abs", "007", "updates.0.max_abs"),
        ("decision", "perhaps", "updates.0.decision = 'perhaps'"),
        ("weights", [0.5], "updates.0.weights.0 = 0.5"),
        ("weights", 1, "updates.0.weights = 1"),
        ("norm2", "-1", "updates.0.norm2 = '-1'"),
        ("max_abs", "-1", "updates.0.max_abs = '-1'"),
    ],
)
def test_what_no_line_has_is_named(manifest: Manifest, key: str, value: object, message: str) -> None:
    document = json.loads(manifest.canonical())
    document["updates"][0][key] = value
    with pytest.raises(FormatError, match=message):
        Manifest.parse(json.dumps(document).encode())


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"format":"\\ud800"}'])
def test_bytes_that_are_no_manifest(data: bytes) -> None:
    with pytest.raises(FormatError, match="manifest: "):
        Manifest.parse(data)


@pytest.mark.parametrize("key", sorted(Manifest.model_fields.keys() - {"updates"}))
def test_differences_name_exactly_the_changed_key(manifest: Manifest, key: str) -> None:
    changed = manifest.model_copy(update={key: "another"})
    (found,) = differences(changed, manifest)
    assert (found.where, found.stated) == (key, "another")
    assert str(found) == f"{key}: the manifest states another, the ledger implies {found.expected}"


def test_every_key_of_a_line_is_compared(manifest: Manifest) -> None:
    line = manifest.updates[1]
    for key in type(line).model_fields:
        changed = (*manifest.updates[:1], line.model_copy(update={key: 99}), *manifest.updates[2:])
        where = [one.where for one in differences(manifest.model_copy(update={"updates": changed}), manifest)]
        if key == "seq":
            assert where == ["updates[seq 8]", "updates[seq 99]"]
        else:
            assert where == [f"updates[seq 8].{key}"]


def test_genesis_consumes_nothing(story: Any) -> None:
    model = story.content()
    genesis = genesis_manifest(story.history.federation, model)
    assert (genesis.version, genesis.parent, genesis.policy, genesis.updates) == (0, None, None, ())
    assert (genesis.first, genesis.through, genesis.divisors) == (0, 0, ())
    assert (genesis.integers, genesis.gram, genesis.state) == ({}, None, None)
    assert genesis.result.content == model
    assert Manifest.parse(genesis.canonical()) == genesis
