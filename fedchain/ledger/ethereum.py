"""The ledger on an EVM chain: reader, signer actor and mirror behind the port `Ledger` (core/ports.py)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self
from uuid import uuid4

from fedchain.core.errors import LedgerError, LedgerUnreachable
from fedchain.core.ledger.records import NOBODY, Address, Federation, Head, Payload, Record, Seq, SignedUpdate, address
from fedchain.core.ports import Signer
from fedchain.ledger.calls import calldata, deployment, relay_calldata, selector
from fedchain.ledger.endpoint import Endpoint, RpcError
from fedchain.ledger.finality import Confirmations, choose_confirmations
from fedchain.ledger.mirror import NOWHERE, Mirror, Origin
from fedchain.ledger.outbox import Outbox
from fedchain.ledger.reader import Reader
from fedchain.ledger.signer import RetryPolicy, SignerActor
from fedchain.ledger.wallet import Wallet, receipt_of

if TYPE_CHECKING:
    from fedchain.ledger.newheads import NewHeads

log = logging.getLogger(__name__)

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
    confirmations: Confirmations
    """What the chain offers (`choose_confirmations`), for whoever reads the contract."""


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
        outbox = Outbox(None, chain_id, governor)
        actor = SignerActor(Wallet(endpoint, signer, chain_id, None), outbox, retry_policy, _unknown)
        stack.push_async_callback(actor.close)
        transaction = await actor.send(deployment(governor, predecessor, predecessor_head), "deploy")
        receipt = await receipt_of(endpoint, transaction)
        with endpoint.parsing("receipt"):
            federation = Federation(chain_id, address(receipt["contractAddress"]), predecessor, predecessor_head)
            block, gas = int(receipt["blockNumber"], 16), int(receipt["gasUsed"], 16)
        return Deployment(federation, block, transaction, gas, await choose_confirmations(endpoint, chain_id))


async def _unknown(_transaction: str) -> bool:
    return False


class EthereumLedger:
    """One federation's contract on an EVM chain, as one key sees it; a `Ledger` (core/ports.py).

    More than 12 methods because the port has seven, and an asynchronous context three.
    """

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
        subscribe: str | None = None,
    ) -> EthereumLedger:
        """Connect to a contract; without a signer it can only be read.

        `folder` keeps the mirror, `ledger.sqlite`, and the signer's outbox; None keeps them in memory.
        `confirmations` None asks the chain (`choose_confirmations`). `deployment_block` is the block of
        the contract's deployment; it is searched when neither given nor known from before. `subscribe` is a WebSocket
        URL (ws:// or wss://) that tells of new blocks: then `wait` does not poll. What an earlier
        process stored and did not finish goes on at once. Raises LedgerUnreachable, LedgerError where there is no such
        contract, ConfigError where the folder belongs to another ledger, chain or process.
        """
        async with AsyncExitStack() as stack:
            endpoint = Endpoint(url)
            stack.push_async_callback(endpoint.close)
            mirror = await _open_mirror(endpoint, contract, folder, deployment_block)
            stack.callback(mirror.close)
            if confirmations is None:
                confirmations = await choose_confirmations(endpoint, mirror.origin.federation.chain_id)
            new_heads = _new_heads(subscribe, retry_policy.poll) if subscribe else None
            if new_heads:
                stack.push_async_callback(new_heads.close)
            reader = Reader(endpoint, mirror, confirmations, retry_policy.poll, new_heads)
            actor = _signer_actor(endpoint, signer, reader, folder, retry_policy) if signer else None
            if actor:
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
        """Return all final records from seq `start` on, in order.

        Raises LedgerUnreachable, HeadMismatch; Reorganised when the records before `start` do not hash to `after`.
        """
        return await self._reader.records(start, after)

    async def head(self) -> Head:
        """Return the contract's head at the latest final block; raises LedgerUnreachable."""
        return await self._reader.head()

    async def wait(self, start: Seq, timeout: float) -> None:
        """Return once a final record with seq `start` exists, or after `timeout` seconds; raises HeadMismatch."""
        await self._reader.wait(start, timeout)

    async def append(self, payload: Payload, key: str | None = None) -> Record:
        """Append a record and return it once it is included, final or not; once per key.

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
        receipt = await receipt_of(self._endpoint, record.place.transaction)
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


async def _open_mirror(
    endpoint: Endpoint, contract: Address, folder: Path | None, deployment_block: int | None
) -> Mirror:
    """Open a folder's mirror, or one in memory; a new one begins before the contract's deployment."""
    origin = await _origin(endpoint, contract)
    if folder:
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    mirror = Mirror.create(folder and folder / "ledger.sqlite", origin)
    try:
        if mirror.last_block == NOWHERE:
            if deployment_block is None:
                deployment_block = await _find_deployment_block(endpoint, contract)
            mirror.begin(deployment_block)
    except BaseException:
        mirror.close()
        raise
    return mirror


def _new_heads(url: str, retry_s: float) -> NewHeads:
    from fedchain.ledger.newheads import NewHeads  # noqa: PLC0415 - web3 takes most of a second to import

    return NewHeads(url, retry_s)


def _signer_actor(
    endpoint: Endpoint, signer: Signer, reader: Reader, folder: Path | None, retry_policy: RetryPolicy
) -> SignerActor:
    wallet = Wallet(endpoint, signer, reader.federation.chain_id, reader.federation.contract)
    outbox = Outbox(folder and folder / f"outbox-{wallet.address}.sqlite", reader.federation.chain_id, wallet.address)
    return SignerActor(wallet, outbox, retry_policy, reader.find)


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
