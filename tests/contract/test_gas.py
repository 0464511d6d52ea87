"""What the contract's actions cost, against the committed snapshot; scripts/gas writes it anew.

The figures are receipts' gasUsed: a whole transaction with its 21,000, on a ledger that has been in use. No byte of a
payload's own digits is zero: zero bytes are cheaper.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_utils.crypto import keccak

from fedchain.core.ledger.content import Content, Digest
from fedchain.core.ledger.records import (
    Attested,
    BufferClosed,
    ContentErased,
    EvaluationReported,
    Head,
    MemberSet,
    ModelPublished,
    Payload,
    PolicySet,
    Role,
    Seq,
    ShareGiven,
    UpdateSubmitted,
    Verdict,
    Version,
    address,
)
from fedchain.crypto.eip712 import sign_update
from fedchain.ledger.artifact import artifact

SNAPSHOT = Path(__file__).resolve().parents[2] / "contracts" / "gas.json"

DEPLOYER = address("0xa0Ee7A142d267C1f36714E4a8F75612F20a79720")
"""The last of anvil's ten accounts."""

DIRECT_AT_MOST = 35_000
RELAYED_AT_MOST = 12_500
"""DESIGN, section 3: gas per update, sent by its site, and in a batch of 100 from 10 sites."""

CLAIM_AT_MOST = 41_500
STATEMENT_AT_MOST = 2_500
"""Gas of a claim without statements, and what each statement adds."""

SITES = [Account.from_key(bytes([site] * 32)) for site in range(1, 11)]
CONTENT = Content(Digest(bytes(range(1, 33))), 0x017D7841)
UPDATE = UpdateSubmitted(Version(0x0101), 5_001, CONTENT)
DEADLINE = 0xEEEEEEEE
PUBLISHED = 0x0103
SEQ = Seq(0x010101)
UPDATES = 100
HEAD = Head(keccak(text="a head"))
POLICY = (b'"key":"value",' * 100)[:1024]


def certificate(statements: int) -> bytes:
    """Make statements as a buffer of some ten updates gets them: 121 bytes, of which random ones are the signature's.

    Every byte that is not zero costs 12 gas more: a ledger of 65,536 records has a third one in each of three numbers.
    """
    made = b""
    for number in range(statements):
        signature = keccak(number.to_bytes(32, "big")) + keccak(text=f"s of {number}") + bytes([27 + number % 2])
        through, first, recomputed = ((seq - number).to_bytes(8, "big") for seq in (20_479, 20_460, 20_458))
        made += signature + through + first + (0xDFFF ^ 1 << number % 8).to_bytes(32, "big") + recomputed
    assert len(made) == 121 * statements
    return made


@pytest.fixture(scope="module")
def measured(deploy: Any) -> dict[str, Any]:
    """Measure each action once, on a ledger that has been in use for a while."""
    # The contract's address is part of what sites sign. This account deploys nothing else, so the address and with it
    # the number of zero bytes in the signatures is the same in every run.
    ledger = deploy(sender=DEPLOYER)

    def gas(call: Any, sender: Any) -> int:
        receipt = ledger.send(call, sender)
        assert receipt["status"] == 1
        return int(receipt["gasUsed"])

    def cost(payload: Payload, sender: Any) -> int:
        return gas(ledger.call(payload), sender)

    def cost_of_batch(first_nonce: int) -> int:
        nonces = range(first_nonce, first_nonce + UPDATES // len(SITES))
        batch = [sign_update(ledger.federation, site, UPDATE, nonce, DEADLINE) for nonce in nonces for site in SITES]
        return gas(ledger.relay(*batch), ledger.stranger)

    for site in SITES:
        ledger.append(MemberSet(address(site.address), Role.TRAINER), ledger.governor)
    for member in (ledger.trainer, ledger.aggregator):
        ledger.append(MemberSet(member, Role.TRAINER | Role.AGGREGATOR), ledger.governor)
    for version in range(PUBLISHED):
        ledger.append(ModelPublished(Version(version), Seq(1), HEAD, CONTENT, CONTENT), ledger.aggregator)
    cost_of_batch(0)
    claim = ModelPublished(Version(PUBLISHED), SEQ, HEAD, CONTENT, CONTENT)
    claims = {
        statements: cost(
            replace(claim, version=Version(PUBLISHED + number), certificate=certificate(statements)), ledger.aggregator
        )
        for number, statements in enumerate((0, 1, 10))
    }

    batch = cost_of_batch(10)
    return {
        "bytecode_sha256": artifact().bytecode_sha256,
        "deployment": int(ledger.deployment_block["gasUsed"]),
        f"setPolicy, {len(POLICY)} bytes": cost(PolicySet(POLICY), ledger.governor),
        "setMember, new": cost(MemberSet(ledger.auditor, Role.AUDITOR, CONTENT), ledger.governor),
        "setMember, known": cost(MemberSet(ledger.auditor, Role.TRAINER, CONTENT), ledger.governor),
        "submitUpdate": cost(UPDATE, ledger.trainer),
        "submitUpdates, 100 of 10 sites": batch,
        "submitUpdates, per update": batch / UPDATES,
        "closeBuffer": cost(BufferClosed(), ledger.trainer),
        "closeBuffer, restart": cost(BufferClosed(SEQ), ledger.governor),
        "publishModel, no statements": claims[0],
        "publishModel, 1 statement": claims[1],
        "publishModel, 10 statements": claims[10],
        "publishModel, per statement of 10": (claims[10] - claims[0]) / 10,
        "reportEvaluation": cost(EvaluationReported(UPDATE.base, CONTENT), ledger.trainer),
        "attest": cost(Attested(SEQ, Verdict.RECOMPUTED, CONTENT), ledger.trainer),
        "eraseContent": cost(ContentErased(SEQ, 0x0101), ledger.trainer),
        "giveShare": cost(ShareGiven(SEQ, CONTENT.digest, CONTENT), ledger.trainer),
    }


def test_gas_is_as_committed(measured: dict[str, Any]) -> None:
    if os.environ.get("WRITE_GAS"):
        SNAPSHOT.write_text(json.dumps(measured, indent=2) + "\n")
    assert measured == json.loads(SNAPSHOT.read_text()), "run scripts/gas and see whether the figures please"


def test_gas_is_within_the_design(measured: dict[str, Any]) -> None:
    assert measured["submitUpdate"] <= DIRECT_AT_MOST
    assert measured["submitUpdates, per update"] <= RELAYED_AT_MOST
    claim = measured["publishModel, no statements"]
    assert claim <= CLAIM_AT_MOST
    assert measured["publishModel, 1 statement"] - claim <= STATEMENT_AT_MOST
    assert measured["publishModel, per statement of 10"] <= STATEMENT_AT_MOST
