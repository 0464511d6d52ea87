"""The golden federation in tests/vectors/core.json: what the code makes of it today, and what the oracle does.

The oracle (tests/oracle) is an implementation of docs/format.md that imports nothing of fedchain; the document itself
is held against the same file in tests/unit/project/test_format.py.
"""

from __future__ import annotations

import json
import runpy
import struct
from fractions import Fraction
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eth_utils.crypto import keccak
from oracle import federation as oracle
from oracle.encodings import int8
from oracle.formats import canonical, cid, digest, header
from oracle.policy import policy_of
from oracle.staleness import weight
from oracle.strategies import mean

ROOT = Path(__file__).resolve().parents[3]
VECTORS = json.loads((ROOT / "tests" / "vectors" / "core.json").read_text())
RECORDS = VECTORS["records"]
NAMED = {
    name: bytes.fromhex(blob["hex"]) if "hex" in blob else blob["text"].encode()
    for name, blob in VECTORS["blobs"].items()
}
BLOBS = {VECTORS["blobs"][name]["cid"]: data for name, data in NAMED.items()}
BYTES = {"PolicySet": 0, "BufferClosed": 1, "ModelPublished": 7}
"""Which word of a record is the keccak256 of bytes."""

FIRST_EDITION = {
    "model 0": "bafkreif3a3afgqktawddr7445l5loxvs7abfof6gowyfuw2nsa5fcgnsrm",
    "model 1": "bafkreifk2gaycd72fik4y7wpspajxs3s73zhf35mk77qcb7dc6aky7qc7e",
    "model 2": "bafkreicoid5sekhluomdilyimvlczfxkkidnskvkrjfvj3c4zukxs3l6be",
}
"""The models that the first edition's integers gave, wrapped as update/1 under policy/1."""


@pytest.mark.parametrize("key", sorted(VECTORS))
def test_the_file_is_what_the_code_makes_today(key: str) -> None:
    """After a change on purpose: scripts/vectors writes the file anew."""
    today = made_today()
    assert today.keys() == VECTORS.keys()
    assert json.loads(json.dumps(today[key])) == VECTORS[key]


@cache
def made_today() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "scripts" / "vectors"))["vectors"]()


@cache
def recomputed() -> oracle.Federation:
    one = VECTORS["federation"]
    place = one["chain_id"], one["contract"], one["predecessor"], bytes.fromhex(one["predecessor_head"])
    return oracle.Federation(*place, list(map(raw, RECORDS)), BLOBS.get)


def raw(record: dict[str, Any]) -> oracle.Record:
    """A record as the oracle takes it: where bytes are behind a word, they stand in its place."""
    payload: list[int | bytes] = [int(word, 16) for word in record["words"]]
    for data in record["bytes"]:
        payload[BYTES[record["name"]]] = bytes.fromhex(data)
    return oracle.Record(record["kind"], record["actor"], record["time"], tuple(payload))


def test_every_blob_is_named_by_its_bytes() -> None:
    for name, one in VECTORS["blobs"].items():
        assert len(NAMED[name]) == one["size"]
        assert cid(digest(NAMED[name]), one["size"]) == one["cid"]


def test_contents() -> None:
    for one in VECTORS["contents"]:
        assert cid(bytes.fromhex(one["digest"]), int(one["size"])) == one["cid"]


def test_heads() -> None:
    federation = recomputed()
    assert federation.first_head.hex() == VECTORS["federation"]["first_head"]
    assert [head.hex() for head in federation.heads] == [record["head"] for record in RECORDS]
    assert [record["seq"] for record in RECORDS] == list(range(len(RECORDS)))
    assert {record["kind"] for record in RECORDS} == set(range(1, 10))


def test_versions_follow_from_records_and_blobs() -> None:
    """FedBuff twice, the second time by its time-out; a median of both encodings; one update mixed in."""
    versions = recomputed().versions
    assert [one.claim for one in versions] == [8, 13, 17, 27, 29]
    for number, version in enumerate(versions):
        assert version.cid == VECTORS["blobs"][f"model {number}"]["cid"]
        assert version.model == NAMED[f"model {number}"]
        assert version.manifest_bytes == NAMED[f"manifest {number}"]
    assert [list(version.decisions.values()) for version in versions] == [
        [], ["merged", "malformed", "merged"], ["merged"], ["merged"] * 3, ["merged"],
    ]  # fmt: skip


@pytest.mark.parametrize("name", FIRST_EDITION)
def test_models_are_the_first_editions(name: str) -> None:
    """The same integers, wrapped anew as update/2 under an equal policy/2, give the same bytes."""
    assert VECTORS["blobs"][name]["cid"] == FIRST_EDITION[name]


def test_integers_are_the_first_editions() -> None:
    """sha2-256 of what follows the header, as the first edition had it."""
    found = {}
    for name in ("update 1 of site 1", "update 1 of site 2", "update 2 of site 1, one version late"):
        data = NAMED[name]
        found[name] = sha256(data[8 + int.from_bytes(data[:8], "little") :]).hexdigest()
    assert found == {
        "update 1 of site 1": "117198950ffd341dc4eefe21b24a861d40147c6ea6cfeef2e3017724d8b5462b",
        "update 1 of site 2": "cc2a6e5715882d9f9f0b5368a0727920e276c472ae061bed5065acdf96cf459e",
        "update 2 of site 1, one version late": "9cbd19314c87b482db3eb97064e7699c33abb65fe6cead60c46f759f9820f9ce",
    }


def test_policies() -> None:
    said = {name: policy_of(text.encode()) for name, text in VECTORS["policies"].items()}
    assert [name for name, policy in said.items() if policy is None] == ["no policy"]
    assert [version.manifest["policy"] for version in recomputed().versions] == [None, 1, 1, 15, 23]


def test_inspections() -> None:
    lines = [line for version in recomputed().versions for line in version.manifest["updates"]]
    found = {str(line["seq"]): {key: line[key] for key in ("max_abs", "norm2")} for line in lines if line["max_abs"]}
    assert found == VECTORS["inspections"]


def test_staleness_and_weights() -> None:
    for one in VECTORS["staleness"]:
        assert [weight(one["staleness"], tau) for tau in range(21)] == one["weights"]
    half, constant = {"function": "polynomial", "exponent": "1/2"}, {"function": "constant"}
    for name, staleness, weighting, normalise in [
        ("fedavg", constant, "samples", "weights"),
        ("fedbuff", half, "uniform", "count"),
        ("fedavg, staleness as in fedbuff", half, "samples", "weights"),
    ]:
        rule = {"staleness": staleness, "weighting": weighting, "normalise": normalise}
        rows, divisors = mean.weigh(rule, VECTORS["weights"]["updates"])
        assert {"each": rows[0], "divisor": divisors[0]} == VECTORS["weights"][name]


def rounded(value: Fraction) -> Fraction:
    return Fraction(float(value))


def test_fixed_point() -> None:
    for one in VECTORS["fixed_point"]:
        new, base = (Fraction(float.fromhex(one[key])) for key in ("new", "base"))
        assert round(rounded(new - base) * 2 ** one["bits"]) == one["q"]


def test_int8() -> None:
    """Each block's exponent is the smallest at which every value is within ±127; the values decode to what is said."""
    one = VECTORS["int8"]
    values = np.frombuffer(bytes.fromhex(one["values"]), np.int8)
    exponents = np.frombuffer(bytes.fromhex(one["exponents"]), np.uint8)
    for block, exponent in enumerate(exponents.tolist()):
        part = slice(16 * block, 16 * block + 16)
        fits = [max(abs(round(Fraction(q, 2**e))) for q in one["q"][part]) <= 127 for e in range(exponent + 1)]
        assert fits.index(True) == exponent
        assert [round(Fraction(q, 2**exponent)) for q in one["q"][part]] == values[part].tolist()
    decoded = int8.decode(json.loads(one["encoding"]), "w", {"w": values, "w:exponents": exponents})
    assert decoded.tolist() == one["decoded"]


def test_rounding() -> None:
    for one in VECTORS["rounding"]:
        x, result, rate = (Fraction(float.fromhex(one[key])) for key in ("x", "result", "rate"))
        bits = one["bits"]
        if one["strategy"] == "mean":
            step = rounded(rounded(Fraction(int(one["total"]))) / rounded(Fraction(one["divisor"] * 2**bits)))
        elif one["strategy"] == "mixing":
            mixed = rounded(rounded(Fraction(float.fromhex(one["base"])) - x) * Fraction(one["weight"], 2**16))
            step = rounded(mixed + rounded(rounded(Fraction(int(one["total"]))) / 2 ** (16 + bits)))
        else:
            ordered, count = sorted(one["q"]), len(one["q"])
            step = rounded(Fraction(ordered[(count - 1) // 2] + ordered[count // 2], 2 * 2**bits))
        changed = rounded(x + rounded(step * rate))
        assert struct.unpack("<f", struct.pack("<f", float(changed)))[0] == result


def test_limits() -> None:
    """What is not finite keeps its bits, what is subnormal or a zero is +0, 2^-126 stays; the last one is ordinary."""
    one = VECTORS["limits"]
    x, result = (struct.unpack("<7I", bytes.fromhex(one[key])) for key in ("x", "result"))
    assert result[:6] == (*x[:4], 0, 0)
    ordinary = Fraction(struct.unpack("<f", struct.pack("<I", x[6]))[0]) + Fraction(one["q"][6], 2**24)
    assert struct.pack("<I", result[6]) == struct.pack("<f", float(ordinary))


def test_large() -> None:
    """The model, the updates and the result from the formula alone."""
    one = VECTORS["large"]
    index = np.arange(one["elements"], dtype=np.int64)

    def noise(seed: int) -> Any:
        return np.maximum((2654435761 * index + 40503 * seed) % 2**32 - 2**31, -(2**31) + 1)

    x = (noise(9) * 2.0**-28).astype(np.float32)
    top = header([("w", "F32", x.shape)], {"format": "fedchain/model/1", "layout": '{"w":24}'})
    model = top + x.tobytes()
    said = {
        "base": cid(digest(model), len(model)),
        "encoding": '{"name":"q24"}',
        "format": "fedchain/update/2",
        "layout": sha256(top).hexdigest(),
        "provenance": "0" * 64,
        "sealing": "none",
        "site": one["site"],
    }
    q = [noise(seed) for seed in (1, 2, 3)]
    updates = [header([("w", "I32", x.shape)], said) + some.astype("<i4").tobytes() for some in q]
    strategy = json.loads(one["strategy"])
    rows, divisors = weighed = mean.weigh(strategy, [(tau, 1) for tau in one["staleness"]])
    new = mean.step(strategy, x.astype(np.float64), q, 24, weighed, []).astype(np.float32)
    assert said["base"] == one["model_cid"]
    assert [cid(digest(data), len(data)) for data in updates] == one["update_cids"]
    assert (rows[0], divisors[0]) == (one["weights"], one["divisor"])
    result = top + np.where(np.abs(new) < 2.0**-126, np.float32(0), new).tobytes()
    assert cid(digest(result), len(result)) == one["result_cid"] == LARGE
    assert sha256(result).hexdigest() == one["result_sha256"]


LARGE = "bafkreicwv6kscfc6kxentq4b2xcnvzmdfni2h2bghrs2etefpp76m76ygq"
"""The result that the first edition had."""


def test_a_relayed_update() -> None:
    """EIP-712 written out by hand, over the update of the record."""
    one, place = VECTORS["relayed"], VECTORS["federation"]
    record = RECORDS[one["seq"]]
    assert record["actor"] == one["site"]
    domain = keccak(
        keccak(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
        + keccak(b"fedchain")
        + keccak(b"2")
        + place["chain_id"].to_bytes(32, "big")
        + bytes.fromhex(place["contract"][2:]).rjust(32, b"\0")
    )
    struct_hash = keccak(
        keccak(
            b"SignedUpdate(address site,uint64 base,uint64 samples,"
            b"bytes32 digest,uint64 size,uint64 nonce,uint64 deadline)"
        )
        + bytes.fromhex(one["site"][2:]).rjust(32, b"\0")
        + b"".join(map(bytes.fromhex, record["words"]))
        + one["nonce"].to_bytes(32, "big")
        + one["deadline"].to_bytes(32, "big")
    )
    assert domain.hex() == one["domain_separator"]
    assert struct_hash.hex() == one["struct_hash"]
    assert keccak(b"\x19\x01" + domain + struct_hash).hex() == one["digest"]


def test_a_certificate() -> None:
    one = VECTORS["certificate"]
    assert len(bytes.fromhex(one["bytes"])) == 121
    parts = struct.unpack(">65sQQ32sQ", bytes.fromhex(one["bytes"]))
    assert [part.hex() if isinstance(part, bytes) else part for part in parts] == [
        one[key] for key in ("signature", "through", "first", "mask", "recomputed")
    ]
    assert one["bytes"] in [data for record in RECORDS for data in record["bytes"]]


def test_an_announcement() -> None:
    one = VECTORS["announcement"]
    document = json.loads(one["document"])
    (known,) = document["known"]
    assert canonical(document) == one["document"].encode()
    place = VECTORS["federation"]
    assert one["text"] == (
        f"fedchain gateway of {known['member']} in {place['chain_id']}/{place['contract']} "
        f"at {known['time']}: {known['url']}"
    )
    assert known["member"] == VECTORS["relayed"]["site"]
