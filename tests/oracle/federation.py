"""A federation recomputed from records and contents alone, as docs/format.md says; imports nothing of fedchain.

Strategies and encodings are modules of the folders beside this file, found by the name that the policy gives.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from hashlib import sha256
from typing import Any

import numpy as np
from Crypto.Hash import keccak
from oracle.formats import arrays, canonical, cid, digest, header, length, parse, read_header
from oracle.policy import module, policy_of

RULES = ("merged", "freshest", "kept")
POLICY, MEMBER, UPDATE, CLOSED, PUBLISHED = 1, 2, 3, 4, 5
TRAINER = 2


@dataclass(frozen=True)
class Record:
    """One record: fixed words of the payload as numbers, bytes of any length as bytes."""

    kind: int
    actor: str
    time: int
    payload: tuple[int | bytes, ...]


@dataclass
class Version:
    """One version, as it has to be."""

    claim: int
    """The seq of the record that published it."""
    opens: int
    """The seq of the record with which the next buffer opens."""
    model: bytes
    cid: str
    manifest: dict[str, Any]
    data: dict[str, Any]
    """The model's tensors, flat."""

    @property
    def decisions(self) -> dict[int, str]:
        return {line["seq"]: line["decision"] for line in self.manifest["updates"]}

    @property
    def manifest_bytes(self) -> bytes:
        return canonical(self.manifest)


@dataclass
class Federation:
    """What a contract's records and contents imply; `fetch` gives the bytes of a CID, or None."""

    chain_id: int
    contract: str
    predecessor: str
    predecessor_head: bytes
    records: Sequence[Record]
    fetch: Callable[[str], bytes | None]
    versions: list[Version] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)
    """The head after each record."""
    merged: list[dict[str, Any]] = field(default_factory=list)
    """The lines of all updates merged so far."""

    def __post_init__(self) -> None:
        words: list[Any] = [self.chain_id, int(self.contract, 16), int(self.predecessor, 16)]
        self.first_head = head = _hash(b"".join(map(_word, words)) + self.predecessor_head)
        for one in self.records:
            words = [one.kind, int(one.actor, 16), one.time, *one.payload]
            head = _hash(head + b"".join(map(_word, words)))
            self.heads.append(head)
        for seq, record in enumerate(self.records):
            if record.kind == PUBLISHED and self._counts(seq, record.payload):
                self.versions.append(self._merge(seq) if self.versions else self._genesis(seq))

    def _counts(self, seq: int, claim: Sequence[Any]) -> bool:
        number, through, head = claim[:3]
        return number == len(self.versions) and through < seq and _word(head) == self.heads[through]

    def _genesis(self, seq: int) -> Version:
        name = _content(*self.records[seq].payload[3:5])
        model = self._bytes(name["cid"])
        self.header, tensors, metadata = read_header(model)
        self.rules = parse(metadata["layout"].encode())
        self.tensors = {kind: [one for one in tensors if _rule(self.rules, one) == kind] for kind in RULES}
        if [one for kind in RULES for one in self.tensors[kind]] != tensors:
            raise ValueError("the tensors are out of order")
        manifest = self._manifest(name, {"version": 0, "first": 0, "through": 0, "policy": None, "parent": None}, [])
        return Version(seq, seq, model, name["cid"], manifest, arrays(model, len(self.header), tensors))

    def _merge(self, claim: int) -> Version:
        """Fill the buffer that opened with the newest version, merge what it admitted, and describe it."""
        parent = self.versions[-1]
        set_by, policy = self._policy(parent.opens, claim)
        self.missing = self._stated_missing(claim)
        through, lines, admitted = self._fill(parent.opens, claim, policy)
        strategy = module("strategies", policy["strategy"]["name"])
        weighed = strategy.weigh(
            policy["strategy"], [(line["staleness"], int(line["samples"])) for line, _ in admitted]
        )
        for position, (line, _) in enumerate(admitted):
            line["weights"] = [row[position] for row in weighed[0]]
        data = dict(parent.data)
        for name, _, _ in self.tensors["merged"]:
            bases = [self.versions[line["base"]].data[name].astype(np.float64) for line, _ in admitted]
            q = [update[name] for _, update in admitted]
            x = parent.data[name].astype(np.float64)
            with np.errstate(all="ignore"):
                new = strategy.step(policy["strategy"], x, q, self.rules[name], weighed, bases).astype(np.float32)
            data[name] = _flushed(np.where(np.isfinite(new), new, parent.data[name]))
        freshest = max(admitted, key=lambda one: (one[0]["base"], one[0]["seq"]))[1]
        self.merged += [line for line, _ in admitted]
        data |= {name: freshest[name] for name, _, _ in self.tensors["freshest"]}
        model = self.header + b"".join(values.tobytes() for values in data.values())
        name = _content(int.from_bytes(digest(model), "big"), len(model))
        place = {"version": len(self.versions), "first": parent.opens + 1, "through": through, "policy": set_by}
        place["parent"] = {"cid": parent.cid, "size": len(parent.model)}
        manifest = self._manifest(name, place, lines, weighed[1])
        return Version(claim, through, model, name["cid"], manifest, data)

    def _manifest(self, result: Any, place: Any, lines: Any, divisors: Sequence[int] = ()) -> dict[str, Any]:
        return place | {
            "divisors": divisors,
            "federation": {"chain_id": self.chain_id, "contract": self.contract},
            "format": "fedchain/manifest/2",
            "gram": None,
            "integers": {},
            "result": result,
            "sealing": "none",
            "state": None,
            "updates": lines,
        }

    def _fill(self, opened: int, stop: int, policy: dict[str, Any]) -> tuple[int, list[Any], list[Any]]:
        """Judge the updates of a buffer; returns the seq that closed it, all lines, and the admitted with their q."""
        lines: list[dict[str, Any]] = []
        admitted: list[tuple[dict[str, Any], dict[str, Any]]] = []
        size = policy["buffer"]["size"]
        if size == "all":
            size = max(1, sum(bool(roles & TRAINER) for roles in self._roles(opened + 1).values()))
        deadline = None
        for seq in range(opened + 1, stop):
            record, closed = self.records[seq], False
            if record.kind == CLOSED:
                closed = deadline is not None and record.time >= deadline and record.payload[0] == 0
            elif record.kind == UPDATE:
                line, q = self._judge(seq, [one for one, _ in admitted], policy)
                lines.append(line)
                if line["decision"] == "merged":
                    admitted.append((line, q))
                    deadline = deadline or record.time + policy["buffer"]["timeout_s"]
                closed = len(admitted) == size
            if closed:
                return seq, lines, admitted
        raise ValueError(f"record {stop} publishes a version whose buffer is open")

    def _judge(self, seq: int, admitted: list[dict[str, Any]], policy: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        """Apply the rules to one update; returns its line and its tensors."""
        record = self.records[seq]
        base, samples, *content = record.payload
        known = base < len(self.versions) and self.versions[base].claim < seq
        line = {"seq": seq, "site": record.actor, "base": base, "samples": _number(samples), "weights": []}
        line |= _content(*content) | {"max_abs": None, "norm2": None, "decision": "merged"}
        line["staleness"] = len(self.versions) - 1 - base if known else None
        ever = [*self.merged, *admitted]
        rules = policy["admission"]
        budget = rules["updates_per_site"]
        for reason, broken in [
            ("not_trainer", lambda: not self._roles(seq).get(record.actor, 0) & TRAINER),
            ("unknown_base", lambda: not known),
            ("too_stale", lambda: line["staleness"] > rules["max_staleness"]),
            (
                "over_quota",
                lambda: sum(one["site"] == record.actor for one in admitted) >= policy["buffer"]["per_site"],
            ),
            ("privacy_budget", lambda: budget and sum(one["site"] == record.actor for one in ever) >= budget),
            ("duplicate", lambda: any((one["cid"], one["size"]) == (line["cid"], line["size"]) for one in ever)),
        ]:
            if broken():
                return line | {"decision": reason}, None
        q = self._read(seq, line, policy["encodings"])
        if isinstance(q, str):
            return line | {"decision": q}, None
        merged = [(self.rules[name], q[name].tolist()) for name, _, _ in self.tensors["merged"]]
        max_abs = max((max(map(abs, values), default=0) << 30 - bits for bits, values in merged), default=0)
        norm2 = sum(sum(value * value for value in values) << 60 - 2 * bits for bits, values in merged)
        line |= {"max_abs": str(max_abs), "norm2": str(norm2)}
        if rules["max_change"] is not None and max_abs > Fraction(rules["max_change"]) * 2**30:
            line["decision"] = "out_of_range"
        elif rules["max_norm"] is not None and norm2 > Fraction(rules["max_norm"]) ** 2 * 2**60:
            line["decision"] = "norm_bound"
        return line, q

    def _read(self, seq: int, line: dict[str, Any], encodings: list[dict[str, Any]]) -> dict[str, Any] | str:
        """Read an update's tensors, its changes as integers; a reason where there are none."""
        for rule in encodings:
            encoding = module("encodings", rule["name"])
            tensors = [one for name, _, shape in self.tensors["merged"] for one in encoding.tensors(rule, name, shape)]
            tensors += self.tensors["freshest"]
            if len({name for name, _, _ in tensors}) < len(tensors):
                continue  # a layout that the encoding has no names for
            said = {
                "base": self.versions[line["base"]].cid,
                "encoding": canonical(rule).decode(),
                "format": "fedchain/update/2",
                "layout": sha256(self.header).hexdigest(),
                "provenance": "0" * 64,
                "sealing": "none",
                "site": line["site"],
            }
            start = len(header(tensors, said))
            if line["size"] != start + sum(map(length, tensors)):
                continue
            data = None if seq in self.missing else self.fetch(line["cid"])
            if data is None or len(data) != line["size"]:
                return "unavailable"
            with suppress(ValueError, KeyError, TypeError, AttributeError):
                said["provenance"] = read_header(data)[2]["provenance"]
            if data[:start] != header(tensors, said) or not re.fullmatch("[0-9a-f]{64}", said["provenance"]):
                continue
            found = arrays(data, start, tensors)
            q = {name: encoding.decode(rule, name, found) for name, _, _ in self.tensors["merged"]}
            return "malformed" if any(one is None for one in q.values()) else found | q
        return "malformed"

    def _policy(self, opened: int, stop: int) -> tuple[int, dict[str, Any]]:
        """Return the seq and the text of the policy in force with a record, or of the first one after it."""
        valid = [
            (seq, found)
            for seq, one in enumerate(self.records[:stop])
            if one.kind == POLICY and (found := policy_of(one.payload[0]))
        ]
        return ([one for one in valid if one[0] <= opened][-1:] or valid)[0]

    def _roles(self, stop: int) -> dict[str, int]:
        """Return the members' roles before a record."""
        changes = [one.payload for one in self.records[:stop] if one.kind == MEMBER]
        return {f"0x{member:040x}": int(roles) for member, roles, *_ in changes}

    def _stated_missing(self, claim: int) -> set[int]:
        """Return the updates that a claim's manifest calls unavailable: the one fact that records do not hold."""
        stated = parse(self.fetch(_content(*self.records[claim].payload[5:7])["cid"]) or b"")
        lines = stated.get("updates", ()) if isinstance(stated, dict) else ()
        return {line["seq"] for line in lines if line["decision"] == "unavailable"}

    def _bytes(self, name: str) -> bytes:
        found = self.fetch(name)
        if found is None:
            raise ValueError(f"{name} is gone")
        return found


def _rule(rules: dict[str, Any], tensor: Any) -> str:
    return "merged" if isinstance(rules[tensor[0]], int) else rules[tensor[0]]


def _flushed(values: Any) -> Any:
    return np.where(np.abs(values) < np.float32(2.0**-126), np.float32(0), values)


def _content(digest: Any, size: Any) -> dict[str, Any]:
    return {"cid": cid(_word(digest), size), "size": _number(size)}


def _number(value: Any) -> int | str:
    return value if value < 2**53 else str(value)


def _word(value: int | bytes) -> bytes:
    return _hash(value) if isinstance(value, bytes) else value.to_bytes(32, "big")


def _hash(data: bytes) -> bytes:
    return keccak.new(digest_bits=256, data=data).digest()
