"""The oracle against numbers worked out by hand."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any

import pytest
from oracle.federation import CLOSED, MEMBER, POLICY, PUBLISHED, UPDATE, Federation, Record
from oracle.formats import canonical, cid, digest, header

GOVERNOR, AGGREGATOR, ONE, TWO, THREE = (f"0x{number * 20}" for number in ("aa", "bb", "01", "02", "03"))
MODEL = {"format": "fedchain/model/1", "layout": '{"n":"freshest","w":24}'}
HALF = {"exponent": "1/2", "function": "polynomial"}
MEAN = {"name": "mean", "normalise": "count", "rate": 0.5, "staleness": HALF, "weighting": "uniform"}


def policy(strategy: dict[str, Any] = MEAN, *, size: int | str = 2, **admission: Any) -> bytes:
    rules = {"max_change": None, "max_norm": None, "max_staleness": 1, "updates_per_site": None}
    return canonical({
        "admission": rules | admission,
        "buffer": {"per_site": 1, "size": size, "timeout_s": 60},
        "encodings": [{"name": "q24"}, {"block": 16, "name": "int8"}],
        "format": "fedchain/policy/2",
        "sealing": "none",
        "strategy": strategy,
    })  # fmt: skip


class Made:
    """A ledger that is made record by record, with two elements in its model."""

    def __init__(self, rules: bytes, *x: float) -> None:
        self.blobs: dict[str, bytes] = {}
        self.records: list[Record] = []
        self.add(MEMBER, GOVERNOR, int(GOVERNOR, 16), 1, 0, 0)
        self.add(POLICY, GOVERNOR, rules)
        for site in (ONE, TWO, THREE):
            self.add(MEMBER, GOVERNOR, int(site, 16), 2, 0, 0)
        self.header = header([("w", "F32", (2,)), ("n", "I64", ())], MODEL)
        self.model = self.header + struct.pack("<2fq", *x, 7)
        self.claim(0, 0, self.model)

    @property
    def read(self) -> Federation:
        return Federation(1, GOVERNOR, "0x0", bytes(32), self.records, self.blobs.get)

    def add(self, kind: int, actor: str, *payload: int | bytes, wait: int = 1) -> int:
        time = self.records[-1].time + wait if self.records else 1000
        self.records.append(Record(kind, actor, time, payload))
        return len(self.records) - 1

    def put(self, data: bytes) -> tuple[int, int]:
        self.blobs[cid(digest(data), len(data))] = data
        return int.from_bytes(digest(data), "big"), len(data)

    def claim(self, version: int, through: int, model: bytes = b"", head: int | None = None) -> int:
        after = head or int.from_bytes(self.read.heads[through], "big")
        return self.add(PUBLISHED, AGGREGATOR, version, through, after, *self.put(model), *self.put(b"{}"), b"")

    def update(self, site: str, q: Sequence[int], n: int = 8, base: int = 0, of: str | None = None) -> int:
        tensors = [("w", "I32", (2,)), ("n", "I64", ())]
        data = self.head(tensors, '{"name":"q24"}', of or site, base) + struct.pack("<2iq", *q, n)
        return self.add(UPDATE, site, base, 100, *self.put(data))

    def int8(self, site: str, v: Sequence[int], exponent: int) -> int:
        tensors = [("w", "I8", (2,)), ("w:exponents", "U8", (1,)), ("n", "I64", ())]
        data = self.head(tensors, '{"block":16,"name":"int8"}', site, 0) + struct.pack("<2bBq", *v, exponent, 8)
        return self.add(UPDATE, site, 0, 100, *self.put(data))

    def head(self, tensors: list[Any], encoding: str, site: str, base: int) -> bytes:
        names = {"base": self.read.versions[base].cid, "layout": digest(self.header).hex(), "provenance": "5e" * 32}
        fixed = {"format": "fedchain/update/2", "sealing": "none", "encoding": encoding, "site": site}
        return header(tensors, names | fixed)

    def floats(self, version: int) -> list[float]:
        return [float(one) for one in self.read.versions[version].data["w"]]

    def decisions(self, version: int = 1) -> list[str]:
        return list(self.read.versions[version].decisions.values())


def test_the_mean_of_two() -> None:
    made = Made(policy(), 1.0, -2.0)
    made.update(ONE, (1 << 24, -(1 << 24)), n=10)
    closing = made.update(TWO, (1 << 23, 1 << 22), n=11)
    made.claim(1, closing)
    # (1 + ½) / 2 · ½ = 0.375; (-1 + ¼) / 2 · ½ = -0.1875
    assert made.floats(1) == [1.375, -2.1875]
    version = made.read.versions[1]
    assert int(version.data["n"][0]) == 11
    assert version.model == made.header + struct.pack("<2fq", 1.375, -2.1875, 11)
    manifest = json.loads(version.manifest_bytes)
    assert (manifest["first"], manifest["through"], manifest["divisors"]) == (6, 7, [131072])
    assert [(one["weights"], one["max_abs"], one["norm2"]) for one in manifest["updates"]] == [
        ([65536], str(1 << 30), str(2 << 60)),
        ([65536], str(1 << 29), str((1 << 58) + (1 << 56))),
    ]


def test_a_late_update_weighs_less() -> None:
    made = Made(policy(size=1), 0.0, 0.0)
    made.claim(1, made.update(ONE, (1 << 24, 0)))
    made.claim(2, made.update(TWO, (1 << 24, 0)))
    assert made.read.versions[2].manifest["updates"][0]["weights"] == [46340]  # isqrt(2^31)
    assert made.floats(2) == [0.5 + 46340 / 65536 * 0.5, 0.0]


def test_mixing_starts_from_the_base() -> None:
    made = Made(policy({"name": "mixing", "rate": 0.5, "staleness": {"function": "constant"}}, size=1), 1.0, 1.0)
    made.claim(1, made.update(ONE, (1 << 24, 0)))
    made.claim(2, made.update(TWO, (0, 1 << 24)))
    assert made.floats(1) == [1.5, 1.0]
    assert made.floats(2) == [1.25, 1.5]  # half of (1.5, 1) and half of (1, 2)


def test_the_median_of_three_and_of_two() -> None:
    made = Made(policy({"name": "median", "rate": 1}, size=3), 0.0, 0.0)
    for site, q in [(ONE, (5 << 24, 1 << 24)), (TWO, (-(1 << 24), 1 << 24)), (THREE, (2 << 24, -(9 << 24)))]:
        closing = made.update(site, q)
    made.claim(1, closing)
    assert made.floats(1) == [2.0, 1.0]
    assert made.read.versions[1].manifest["divisors"] == []
    made.update(ONE, (1 << 24, 0), base=1)
    made.update(TWO, (4 << 24, -(2 << 24)), base=1)
    made.claim(2, made.add(CLOSED, THREE, 0, b"", wait=60))
    assert made.floats(2) == [2.0 + 2.5, 1.0 - 1.0]


def test_what_is_not_finite_keeps_the_parents_value_and_what_is_tiny_is_zero() -> None:
    made = Made(policy(MEAN | {"rate": 1}, size=1), 3.4028234663852886e38, -(2.0**-126))
    made.claim(1, made.update(ONE, (1, 0)))
    assert made.floats(1) == [3.4028234663852886e38, -(2.0**-126)]
    made = Made(policy(MEAN | {"rate": 1}, size=1), float("inf"), -(2.0**-127))
    made.claim(1, made.update(ONE, (1, 0)))
    assert struct.pack("<2f", *made.floats(1)) == struct.pack("<2f", float("inf"), 0.0)


def test_int8_blocks() -> None:
    made = Made(policy(MEAN | {"rate": 1}, size=1), 0.0, 0.0)
    made.claim(1, made.int8(ONE, (127, -3), 20))
    assert made.floats(1) == [127 / 16, -3 / 16]
    assert made.read.versions[1].manifest["updates"][0]["max_abs"] == str(127 << 26)


@pytest.mark.parametrize(("v", "exponent"), [((-128, 0), 0), ((1, 1), 25)])
def test_int8_that_is_none(v: tuple[int, int], exponent: int) -> None:
    made = Made(policy(size=1), 0.0, 0.0)
    made.int8(ONE, v, exponent)
    made.claim(1, made.update(TWO, (1, 1)))
    assert made.decisions() == ["malformed", "merged"]


def test_reasons_in_their_order() -> None:
    made = Made(policy(max_change=2, max_norm=2.5, updates_per_site=1), 0.0, 0.0)
    made.update(GOVERNOR, (1, 1))
    made.add(UPDATE, ONE, 1, 100, *made.put(b"-"))
    made.add(UPDATE, ONE, 0, 100, *made.put(b"-"))
    made.add(UPDATE, ONE, 0, 100, 1, len(made.blobs[list(made.blobs)[2]]))
    made.update(ONE, (1, 1), of=TWO)
    made.update(ONE, (-(2**31), 1))
    made.update(ONE, (2 << 24, -((2 << 24) + 1)))
    made.update(ONE, (2 << 24, 2 << 24))
    one = made.update(ONE, (1, 1))
    made.update(ONE, (1, 2))
    made.add(UPDATE, TWO, *made.records[one].payload)
    made.claim(1, made.update(TWO, (2, 1)))
    assert made.decisions() == [
        *("not_trainer", "unknown_base", "malformed", "unavailable", "malformed", "malformed", "out_of_range"),
        *("norm_bound", "merged", "over_quota", "duplicate", "merged"),
    ]
    made.update(ONE, (1, 3), base=1)
    made.update(THREE, (1, 3), base=1)
    made.claim(2, made.add(CLOSED, THREE, 0, b"", wait=60))
    assert made.decisions(2) == ["privacy_budget", "merged"]


def test_claims_that_count_for_nothing() -> None:
    made = Made(policy(size=1), 0.0, 0.0)
    closing = made.update(ONE, (1 << 24, 0))
    made.claim(2, closing)
    made.claim(1, closing, head=1)
    made.add(CLOSED, GOVERNOR, 5, b"")
    made.claim(0, 0)
    claim = made.claim(1, closing)
    made.claim(1, closing)
    assert [one.claim for one in made.read.versions] == [5, claim]
    assert made.floats(1) == [0.5, 0.0]


def test_a_restart_closes_no_buffer_and_a_close_before_its_time_neither() -> None:
    made = Made(policy(), 0.0, 0.0)
    made.update(ONE, (1, 0))
    made.add(CLOSED, TWO, 0, b"", wait=59)
    made.add(CLOSED, GOVERNOR, 5, b"", wait=1)
    closing = made.add(CLOSED, TWO, 0, b"", wait=0)
    made.claim(1, closing)
    assert made.read.versions[1].manifest["through"] == closing


def test_a_buffer_that_is_open() -> None:
    made = Made(policy(), 0.0, 0.0)
    made.claim(1, made.update(ONE, (1, 0)))
    with pytest.raises(ValueError, match="buffer is open"):
        made.read  # noqa: B018


@pytest.mark.parametrize(
    "wrong",
    [
        b"", b"{}", b"[]", policy() + b" ", policy(size=0), policy(size="some"), policy({"name": "os"}),
        policy(MEAN | {"rate": 0}), policy(MEAN | {"rate": True}), policy(MEAN | {"more": 1}),
        policy(MEAN | {"weighting": "samples"}), policy(max_staleness=1.5), policy(max_norm=-1),
        policy({"name": "mixing", "rate": 0.5, "staleness": HALF}), policy({"name": "..mean"}), policy({"name": 1}),
    ],
)  # fmt: skip
def test_a_policy_that_is_none_changes_nothing(wrong: bytes) -> None:
    made = Made(policy(size=1), 0.0, 0.0)
    made.claim(1, made.update(ONE, (1, 0)))
    made.add(POLICY, GOVERNOR, wrong)
    made.claim(2, made.update(TWO, (1, 0)))
    made.claim(3, made.update(THREE, (1, 0), base=2))
    assert [one.manifest["policy"] for one in made.read.versions] == [None, 1, 1, 1]


def test_the_policy_of_the_opening_record_holds_until_the_buffer_closes() -> None:
    made = Made(policy(size=1), 0.0, 0.0)
    changed = made.add(POLICY, GOVERNOR, policy(size="all"))
    made.claim(1, made.update(ONE, (1, 0)))
    for site in (ONE, TWO, THREE):
        closing = made.update(site, (int(site, 16) % 7, 0))
    made.claim(2, closing)
    assert [one.manifest["policy"] for one in made.read.versions] == [None, 1, changed]
