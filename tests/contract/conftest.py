"""A real chain, and on it a federation whose members are named by their roles."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
import requests
from eth_abi import decode
from eth_utils.abi import abi_to_signature, collapse_if_tuple
from eth_utils.crypto import keccak
from web3 import Web3
from web3.exceptions import ContractCustomError
from web3.types import BlockIdentifier, TxReceipt

from fedchain.cli.devnet import anvil
from fedchain.core.ledger.content import NOTHING, Content
from fedchain.core.ledger.records import (
    NOBODY,
    Address,
    Federation,
    Head,
    MemberSet,
    ModelPublished,
    Payload,
    Record,
    Role,
    Seq,
    SignedUpdate,
    Version,
    address,
)
from fedchain.devnet.anvil import Devnet, start, stop
from fedchain.ledger.artifact import artifact

ERRORS = {keccak(text=abi_to_signature(entry))[:4]: entry for entry in artifact().abi if entry["type"] == "error"}

GAS = 16_000_000
"""What every transaction may use: nothing is estimated, so that what reverts is mined all the same."""


def _spelt(value: object) -> Any:
    match value:
        case Content():
            return value.digest, value.size
        case str():
            return Web3.to_checksum_address(value)
        case int():
            return int(value)
        case bytes():
            return value
        case _:
            raise TypeError(f"{value!r} is no part of a record")


@dataclass(frozen=True)
class Contract:
    """A deployed ledger, called with the records of core."""

    chain: Web3
    at: Any
    federation: Federation
    deployment_block: TxReceipt
    governor: Address
    trainer: Address
    aggregator: Address
    auditor: Address
    stranger: Address

    @staticmethod
    def values(payload: Payload) -> list[Any]:
        """Encode a record's values as web3 takes and gives them."""
        return [_spelt(getattr(payload, field.name)) for field in fields(payload)]

    def call(self, payload: Payload) -> Any:
        """Encode a record as the call that makes it."""
        return self.at.functions[payload.function](*self.values(payload))

    def relay(self, *updates: SignedUpdate) -> Any:
        """Encode signed updates as the call that brings them."""
        return self.at.functions.submitUpdates(
            [(_spelt(one.site), *self.values(one.update), one.nonce, one.deadline, one.signature) for one in updates]
        )

    def send(self, call: Any, sender: Address) -> TxReceipt:
        """Send a call and return its receipt, whether it went through or not."""
        sent = call.transact({"from": _spelt(sender), "gas": GAS})
        return self.chain.eth.wait_for_transaction_receipt(sent, poll_latency=0.002)

    def append(self, payload: Payload, sender: Address) -> Record:
        """Append a record and return it; its seq is left at 0, since the head does not hash it."""
        receipt = self.send(self.call(payload), sender)
        assert receipt["status"] == 1, f"{payload} by {sender} was refused"
        return Record(Seq(0), sender, self.time(receipt), payload)

    def refusal(self, call: Any, sender: Address) -> tuple[Any, ...]:
        """Send a call that must revert and leave nothing behind; return the error's name and values."""
        head = self.head()
        receipt = self.send(call, sender)
        assert (receipt["status"], receipt["logs"], self.head()) == (0, [], head)
        return self.why(call, sender, receipt)

    def why(self, call: Any, sender: Address, receipt: TxReceipt) -> tuple[Any, ...]:
        """Repeat a call that was reverted in its block; return the error's name and values."""
        return self.refused(call, sender, receipt["blockNumber"])

    def refused(self, call: Any, sender: Address, block: BlockIdentifier = "latest") -> tuple[Any, ...]:
        """Ask for a call that must revert, sending nothing; return the error's name and values."""
        with pytest.raises(ContractCustomError) as refused:
            call.call({"from": _spelt(sender), "gas": GAS}, block)
        return self.error(refused.value)

    @staticmethod
    def error(refused: ContractCustomError) -> tuple[Any, ...]:
        """Read the name and the values of the error that a call was refused with."""
        data = bytes.fromhex(str(refused.data).removeprefix("0x"))
        error = ERRORS[data[:4]]
        return error["name"], *decode([collapse_if_tuple(one) for one in error["inputs"]], data[4:])

    def events(self, receipt: TxReceipt) -> list[tuple[str, Address, list[Any]]]:
        """Read a transaction's events: name, actor (indexed, first), and the other values in order."""
        found = []
        for log in receipt["logs"]:
            event = self.at.get_event_by_topic(log["topics"][0].to_0x_hex()).process_log(log)
            inputs = next(entry["inputs"] for entry in artifact().abi if entry.get("name") == event["event"])
            actor, *others = (event["args"][one["name"]] for one in inputs)
            values = [tuple(one.values()) if isinstance(one, Mapping) else one for one in others]
            found.append((event["event"], address(actor), values))
        return found

    def head(self) -> Head:
        """Return the contract's head."""
        return Head(self.at.functions.head().call())

    def member(self, account: Address) -> tuple[Role, int]:
        """Return an address's roles and nonce."""
        roles, nonce = self.at.functions.member(_spelt(account)).call()
        return Role(roles), nonce

    def time(self, receipt: TxReceipt) -> int:
        """Return the time of a transaction's block."""
        return int(self.chain.eth.get_block(receipt["blockNumber"])["timestamp"])

    def next_block_at(self, seconds: int) -> None:
        """Fix the time of the next block."""
        self.chain.provider.make_request("evm_setNextBlockTimestamp", [seconds])  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web3]:
    """Start a development chain on a free port; every test deploys a contract of its own there."""
    folder = tmp_path_factory.mktemp("devnet")
    running = asyncio.run(_start(folder))
    with requests.Session() as session:
        yield Web3(Web3.HTTPProvider(running.url, session=session))
    asyncio.run(stop(folder))


async def _start(folder: Path) -> Devnet:
    return await start(await anvil(), folder)


@pytest.fixture(scope="session")
def deploy(chain: Web3) -> Callable[..., Contract]:
    """Deploy a contract that knows its governor and nobody else."""
    accounts = [address(account) for account in chain.eth.accounts]

    def deployed(
        predecessor: Address = NOBODY,
        predecessor_head: bytes = bytes(32),
        governor: Address = accounts[0],
        sender: Address = accounts[0],
    ) -> Contract:
        factory = chain.eth.contract(abi=artifact().abi, bytecode=artifact().bytecode)
        call = factory.constructor(_spelt(governor), _spelt(predecessor), predecessor_head)
        sent = call.transact({"from": _spelt(sender)})
        deployment_block = chain.eth.wait_for_transaction_receipt(sent, poll_latency=0.002)
        at = deployment_block["contractAddress"]
        assert at is not None
        federation = Federation(chain.eth.chain_id, address(at), predecessor, Head(predecessor_head))
        return Contract(chain, chain.eth.contract(at, abi=artifact().abi), federation, deployment_block, *accounts[:5])

    return deployed


@pytest.fixture
def ledger(deploy: Callable[..., Contract]) -> Contract:
    """Deploy a federation with a member of each role, a stranger, and version 0."""
    contract = deploy()
    for member, role in (
        (contract.trainer, Role.TRAINER),
        (contract.aggregator, Role.AGGREGATOR),
        (contract.auditor, Role.AUDITOR),
    ):
        contract.append(MemberSet(member, role), contract.governor)
    contract.append(
        ModelPublished(Version(0), Seq(0), contract.head(), Content(bytes(32), 1), NOTHING), contract.aggregator
    )
    return contract
