"""The ledger on an EVM chain: reader, signer actor and mirror behind the port `Ledger` (core/ports.py)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from uuid import uuid4

from fedchain.core.errors import LedgerError, LedgerUnreachable
from fedchain.core.ledger.records import NOBODY, Address, Federation, Head, Payload, Record, Seq, SignedUpdate, address
from fedchain.core.ports import Signer
from fedchain.ledger.calls import calldata, deployment, relay_calldata, selector
from fedchain.ledger.endpoint import Endpoint, RpcError
from fedchain.ledger.mirror import NOWHERE, Mirror, Origin
from fedchain.ledger.outbox import Outbox
from fedchain.ledger.reader import Confirmations, Reader
from fedchain.ledger.signer import RetryPolicy, SignerActor

log = logging.getLogger(__name__)

DEVNET_CHAIN_ID: Final = 31337
"""Chain id of anvil's chains."""

_NO_HEAD: Final = Head(bytes(32))
_RETRY_POLICY: Final = RetryPolicy()


@dataclass(frozen=True, slots=True)
class Deployment:
    """A contract that was just deployed."""

    federation: Federation
    block: int
    """The block that it is in; `connect` takes it as `deployment_block`."""
    transaction: str
    gas: int


async def deploy(
    url: str,
    signer: Signer,
    predecessor: Address = NOBODY,
    predecessor_head: Head = _NO_HEAD,
    retry_policy: RetryPolicy = _RETRY_POLICY,
) -> Deployment:
    """Deploy a FederationLedger whose first governor is the signer.

    Waits while the endpoint is down. Raises LedgerError where it refuses, as when the signer cannot pay.
    """
    governor = address(signer.address)
    async with AsyncExitStack() as stack:
        endpoint = Endpoint(url)
        stack.push_async_callback(endpoint.close)
        chain_id = int(await endpoint.call("eth_chainId"), 16)
        actor = SignerActor(
            endpoint,
            signer,
            chain_id=chain_id,
            to=None,
            outbox=Outbox(None, chain_id, governor),
            retry_policy=retry_policy,
            find=_unknown,
        )
        stack.push_async_callback(actor.close)
        transaction = await actor.send(deployment(governor, predecessor, predecessor_head), "deploy")
        receipt = await endpoint.call("eth_getTransactionReceipt", transaction)
        with endpoint.parsing("receipt"):
            federation = Federation(chain_id, address(receipt["contractAddress"]), predecessor, predecessor_head)
            return Deployment(federation, int(receipt["blockNumber"], 16), transaction, int(receipt["gasUsed"], 16))


async def _unknown(_transaction: str) -> bool:
    return False


class EthereumLedger:
    """One federation's contract on an EVM chain, as one key sees it; a `Ledger` (core/ports.py)."""

    def __init__(
        self,
        endpoint: Endpoint,
        reader: Reader,
        actor: SignerActor | None,
        retry_policy: RetryPolicy,
        stack: AsyncExitStack,
    ) -> None:
        self._endpoint = endpoint
        self._reader = reader
        self._actor = actor
        self._retry_policy = retry_policy
        self._stack = stack

    @classmethod
    async def connect(
        cls,
        url: str,
        contract: Address,
        signer: Signer | None = None,
        *,
        folder: Path | None = None,
        confirmations: Confirmations | None = None,
        retry_policy: RetryPolicy = _RETRY_POLICY,
        deployment_block: int | None = None,
    ) -> EthereumLedger:
        """Connect to a contract; without a signer it can only be read.

        `folder` keeps the mirror, `ledger.sqlite`, and the signer's outbox; None keeps them in memory.
        `confirmations` None is 0 on a devnet and "finalized" elsewhere. `deployment_block` is the block of
        the contract's deployment; it is searched when neither given nor known from before. What an earlier
        process stored and did not finish goes on at once. Raises LedgerUnreachable, LedgerError where there is no such
        contract, ConfigError where the folder belongs to another ledger, chain or process.
        """
        async with AsyncExitStack() as stack:
            endpoint = Endpoint(url)
            stack.push_async_callback(endpoint.close)
            origin = await _origin(endpoint, contract)
            chain_id = origin.federation.chain_id
            if folder:
                await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
            mirror = Mirror.create(folder and folder / "ledger.sqlite", origin)
            stack.callback(mirror.close)
            if mirror.last_block == NOWHERE:
                mirror.begin(
                    await _find_deployment_block(endpoint, contract) if deployment_block is None else deployment_block
                )
            if confirmations is None:
                confirmations = 0 if chain_id == DEVNET_CHAIN_ID else "finalized"
            reader = Reader(endpoint, mirror, confirmations, retry_policy.poll)
            actor = None
            if signer:
                owner = address(signer.address)
                actor = SignerActor(
                    endpoint,
                    signer,
                    chain_id=chain_id,
                    to=contract,
                    outbox=Outbox(folder and folder / f"outbox-{owner}.sqlite", chain_id, owner),
                    retry_policy=retry_policy,
                    find=reader.find,
                )
                stack.push_async_callback(actor.close)
                actor.resume()
            return cls(endpoint, reader, actor, retry_policy, stack.pop_all())

    async def close(self) -> None:
        """Stop sending and close everything; what is unfinished stays in the outbox."""
        await self._stack.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def federation(self) -> Federation:
        """What head_0 binds."""
        return self._reader.federation

    async def records(self, start: Seq = Seq(0), after: Head | None = None) -> Sequence[Record]:
        """Return all settled records from seq `start` on, in order.

        Raises LedgerUnreachable, HeadMismatch; Reorganised when the records before `start` do not hash to `after`.
        """
        return await self._reader.records(start, after)

    async def head(self) -> Head:
        """Return the contract's head at the latest settled block; raises LedgerUnreachable."""
        return await self._reader.head()

    async def wait(self, start: Seq, timeout: float) -> None:
        """Return once a settled record with seq `start` exists, or after `timeout` seconds; raises HeadMismatch."""
        await self._reader.wait(start, timeout)

    async def append(self, payload: Payload, key: str | None = None) -> Record:
        """Append a record and return it once it is included, settled or not; once per key.

        Waits while the endpoint is down. Raises LedgerRefused with the contract's custom error, LedgerError where
        the endpoint refuses, FormatError for a value that is too wide.
        """
        return (await self._append(calldata(payload), key))[0]

    async def relay(self, updates: Sequence[SignedUpdate]) -> Sequence[Record]:
        """Append updates that other members signed but those that are not right now; raises as `append`."""
        return await self._append(relay_calldata(updates), None)

    async def nonce(self, member: Address) -> int:
        """Return the nonce that the member's next relayed update must carry; raises LedgerUnreachable."""
        data = "0x" + (selector("member(address)") + int(member, 16).to_bytes(32, "big")).hex()
        found = await self._endpoint.call("eth_call", {"to": self.federation.contract, "data": data}, "latest")
        with self._endpoint.parsing("member"):
            return int(found[-64:], 16)

    async def gas_used(self, record: Record) -> int:
        """Return the gas that a record's transaction used; raises LedgerUnreachable."""
        assert record.place is not None
        receipt = await self._endpoint.call("eth_getTransactionReceipt", record.place.transaction)
        with self._endpoint.parsing("receipt"):
            return int(receipt["gasUsed"], 16)

    async def _append(self, data: bytes, key: str | None) -> Sequence[Record]:
        if self._actor is None:
            raise LedgerError("the ledger was opened for reading only: open it with a key to append")
        key = key or uuid4().hex
        while True:
            transaction = await self._actor.send(data, key)
            with suppress(LedgerUnreachable):
                if records := await self._reader.find(transaction):
                    return records
            log.warning("the records of transaction %s cannot be read: reorganised away, or no answer", transaction)
            await asyncio.sleep(self._retry_policy.poll)


async def _origin(endpoint: Endpoint, contract: Address) -> Origin:
    """Ask what head_0 binds, and which chain this is; raises LedgerError where there is no FederationLedger."""
    call = {"to": contract, "data": "0x" + selector("predecessor()").hex()}
    chain_id, genesis = await asyncio.gather(
        endpoint.call("eth_chainId"), endpoint.call("eth_getBlockByNumber", "0x0", False)
    )
    try:
        found = (await endpoint.call("eth_call", call, "latest")).removeprefix("0x")
    except RpcError as error:
        raise LedgerError(f"the contract {contract} is not a FederationLedger: {error.message}") from error
    if len(found) != 128:
        raise LedgerError(
            f"there is no FederationLedger at {contract} on chain {int(chain_id, 16)} ({endpoint.name}): "
            "check address and endpoint"
        )
    with endpoint.parsing("genesis"):
        head = Head(bytes.fromhex(found[64:]))
        return Origin(Federation(int(chain_id, 16), contract, address(found[24:64]), head), genesis["hash"])


async def _find_deployment_block(endpoint: Endpoint, contract: Address) -> int:
    """Search the first block that has the contract's code; 0 where the endpoint does not keep old states."""
    try:
        low, high = 0, int(await endpoint.call("eth_blockNumber"), 16)
        while low < high:
            middle = (low + high) // 2
            if await endpoint.call("eth_getCode", contract, hex(middle)) == "0x":
                low = middle + 1
            else:
                high = middle
    except RpcError:
        return 0
    return low
