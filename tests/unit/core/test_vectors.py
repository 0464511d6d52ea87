"""The golden federation in tests/vectors/core.json: what the code makes of it today, and what docs/format.md says.

The second half is an implementation of docs/format.md that imports nothing of fedchain: it recomputes heads, names
and models from the file alone, in exact rationals.
"""

from __future__ import annotations

import json
import runpy
import struct
from base64 import b32encode
from fractions import Fraction
from hashlib import sha256
from math import isqrt, prod
from pathlib import Path
from typing import Any

import pytest
from eth_utils.crypto import keccak

ROOT = Path(__file__).resolve().parents[3]
VECTORS = json.loads((ROOT / "tests" / "vectors" / "core.json").read_text())
RECORDS = VECTORS["records"]
BLOBS = {
    blob["cid"]: bytes.fromhex(blob["hex"]) if "hex" in blob else blob["text"].encode()
    for blob in VECTORS["blobs"].values()
}
FORMATS = {"F32": "f", "I32": "i", "I64": "q", "BOOL": "?"}


@pytest.mark.parametrize("key", sorted(VECTORS))
def test_the_file_is_what_the_code_makes_today(key: str) -> None:
    """After a change on purpose: scripts/vectors writes the file anew."""
    today = runpy.run_path(str(ROOT / "scripts" / "vectors"))["vectors"]()
    assert today.keys() == VECTORS.keys()
    assert json.loads(json.dumps(today[key])) == VECTORS[key]


# A second implementation


def cid(digest: bytes, size: int) -> str:
    codec = 0x55 if size <= 1 << 20 else 0x70
    return "b" + b32encode(bytes((1, codec, 0x12, 0x20)) + digest).decode().lower().rstrip("=")


def blob(words: list[str]) -> bytes:
    """The blob that a record's content names: two words, digest and size."""
    return BLOBS[cid(bytes.fromhex(words[0]), int(words[1], 16))]


def tensors(data: bytes) -> tuple[dict[str, str], dict[str, list[Any]]]:
    """Metadata, and every tensor's values, of a safetensors file."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    metadata = header.pop("__metadata__")
    values = {}
    for name, entry in header.items():
        start, stop = (8 + length + offset for offset in entry["data_offsets"])
        values[name] = list(struct.unpack(f"<{prod(entry['shape'])}{FORMATS[entry['dtype']]}", data[start:stop]))
    return metadata, values


def rounded(value: Fraction) -> Fraction:
    return Fraction(float(value))


def test_every_blob_is_named_by_its_bytes() -> None:
    for one in VECTORS["blobs"].values():
        data = BLOBS[one["cid"]]
        assert len(data) == one["size"]
        assert cid(sha256(data).digest(), len(data)) == one["cid"]


def test_contents() -> None:
    for one in VECTORS["contents"]:
        assert cid(bytes.fromhex(one["digest"]), int(one["size"])) == one["cid"]


def test_heads() -> None:
    federation = VECTORS["federation"]
    head = keccak(
        federation["chain_id"].to_bytes(32, "big")
        + bytes.fromhex(federation["contract"][2:]).rjust(32, b"\0")
        + bytes.fromhex(federation["predecessor"][2:]).rjust(32, b"\0")
        + bytes.fromhex(federation["predecessor_head"])
    )
    assert head.hex() == federation["first_head"]
    for seq, record in enumerate(RECORDS):
        assert record["seq"] == seq
        words = [record["kind"].to_bytes(32, "big"), bytes.fromhex(record["actor"][2:]).rjust(32, b"\0")]
        words += [record["time"].to_bytes(32, "big"), *map(bytes.fromhex, record["words"])]
        head = keccak(head + b"".join(words))
        assert head.hex() == record["head"]
    assert {record["kind"] for record in RECORDS} == set(range(1, 9))


def test_models_follow_from_records_and_blobs() -> None:
    """FedBuff with K = 2 and η = ½; the second version closes by its time-out."""
    policy = json.loads(blob(RECORDS[1]["words"]))
    assert (policy["buffer"]["size"], policy["rate"], policy["buffer"]["timeout_s"]) == (2, 0.5, 600)
    published = [record for record in RECORDS if record["name"] == "ModelPublished"]
    for version, first, last in [(1, 7, 9), (2, 11, 12)]:
        parent = blob(published[version - 1]["words"][2:4])
        metadata, x = tensors(parent)
        layout = json.loads(metadata["layout"])
        merged = []
        for record in RECORDS[first : last + 1]:
            if record["name"] != "UpdateSubmitted":
                assert record["time"] >= RECORDS[first]["time"] + 600
                continue
            base, staleness = int(record["words"][0], 16), version - 1 - int(record["words"][0], 16)
            data = blob(record["words"][2:4])
            said, q = tensors(data)
            expected = {
                "format": "fedchain/update/1",
                "encoding": "q24",
                "sealing": "none",
                "layout": sha256(parent[: 8 + int.from_bytes(parent[:8], "little")]).hexdigest(),
                "site": record["actor"],
                "base": cid(sha256(blob(published[base]["words"][2:4])).digest(), len(parent)),
            }
            if said == expected:
                merged.append((isqrt(2**32 // (1 + staleness)), base, q))
        divisor = 65536 * len(merged)
        for name, bits in layout.items():
            if bits == "freshest":
                x[name] = max(enumerate(merged), key=lambda one: (one[1][1], one[0]))[1][2][name]
            elif bits != "kept":
                for index, value in enumerate(x[name]):
                    total = sum(weight * q[name][index] for weight, _, q in merged)
                    change = rounded(rounded(total / rounded(Fraction(divisor * 2**bits))) * Fraction(policy["rate"]))
                    x[name][index] = struct.unpack("<f", struct.pack("<f", float(Fraction(value) + change)))[0]
        data = blob(published[version]["words"][2:4])
        assert tensors(data) == (metadata, x)
        assert len(data) == len(parent)
        assert published[version]["words"][1] == f"{last:064x}"
        manifest = json.loads(blob(published[version]["words"][4:6]))
        assert [line["weight"] for line in manifest["updates"] if line["weight"]] == [weight for weight, _, _ in merged]
        assert manifest["divisor"] == divisor


def test_inspections() -> None:
    layout = json.loads(tensors(BLOBS[VECTORS["blobs"]["model 0"]["cid"]])[0]["layout"])
    for seq, said in VECTORS["inspections"].items():
        _, q = tensors(blob(RECORDS[int(seq)]["words"][2:4]))
        changes = [
            Fraction(value, 2**bits) for name, bits in layout.items() if isinstance(bits, int) for value in q[name]
        ]
        assert max(map(abs, changes)) * 2**30 == int(said["max_abs"])
        assert sum(change**2 for change in changes) * 2**60 == int(said["norm2"])


def test_rounding() -> None:
    for one in VECTORS["rounding"]:
        x, base, result, rate = (Fraction(float.fromhex(one[key])) for key in ("x", "base", "result", "rate"))
        total, bits = rounded(Fraction(int(one["total"]))), one["bits"]
        if one["combiner"] == "mean":
            step = rounded(total / rounded(Fraction(one["divisor"] * 2**bits)))
        else:
            mixed = rounded(rounded(base - x) * Fraction(one["weight"], 2**16))
            step = rounded(mixed + rounded(total / 2 ** (16 + bits)))
        changed = rounded(x + rounded(step * rate))
        assert struct.unpack("<f", struct.pack("<f", float(changed)))[0] == result
