from __future__ import annotations

import hashlib

from fedchain.ledger.artifact import artifact


def test_the_hash_is_the_bytecodes() -> None:
    bytecode = bytes.fromhex(artifact().bytecode.removeprefix("0x"))
    assert hashlib.sha256(bytecode).hexdigest() == artifact().bytecode_sha256


def test_an_event_carries_its_actor_first_and_indexed() -> None:
    records = [entry for entry in artifact().abi if entry["type"] == "event" and entry["name"] != "EIP712DomainChanged"]
    assert len(records) == 9
    for record in records:
        assert (record["inputs"][0]["name"], record["inputs"][0]["indexed"]) == ("actor", True)
