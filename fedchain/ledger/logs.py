"""Events of the contract as an endpoint gives them, and the records that they are (Ethereum JSON-RPC, eth_getLogs)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from eth_hash.auto import keccak

from fedchain.core.errors import FormatError
from fedchain.core.ledger.records import Address, Kind, Payload, Place, address
from fedchain.ledger.calls import SIGNATURES, payload_of
from fedchain.ledger.endpoint import Endpoint, RpcError, TimedOut

_TOPICS: Final[dict[str, Kind]] = {
    "0x" + keccak(f"{form.event}({','.join(filter(None, ('address', form.types)))})".encode()).hex(): kind
    for kind, form in SIGNATURES.items()
}


@dataclass(frozen=True, slots=True)
class Log:
    """One event of the contract."""

    actor: Address
    payload: Payload
    place: Place
    time: int
    """Block time in seconds since 1970."""


async def read_logs(endpoint: Endpoint, contract: Address, first: int, last: int) -> list[Log]:
    """Read the contract's events from block `first` to `last`, in ranges that halve on error.

    Endpoints limit ranges, answers and time, each in its own way, and say so in words only. Raises
    LedgerUnreachable, RpcError when not even one block can be read, FormatError for an event that is not a record.
    """
    found: list[Mapping[str, Any]] = []
    step = last - first + 1
    while first <= last:
        end = min(first + step, last + 1) - 1
        filters = {"address": contract, "fromBlock": hex(first), "toBlock": hex(end)}
        try:
            entries = await endpoint.call("eth_getLogs", filters)
        except (RpcError, TimedOut):
            if first == end:
                raise
            step = (end - first + 1) // 2
            continue
        found += entries
        first, step = end + 1, 2 * step
    with endpoint.parsing("event"):
        times = await _times(endpoint, found)
        return [_log(entry, contract, times) for entry in found]


async def _times(endpoint: Endpoint, entries: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Ask for the times of the blocks whose events come without one: older nodes leave it out."""
    wanted = {entry["blockHash"] for entry in entries if not entry.get("blockTimestamp")}
    blocks = await asyncio.gather(*(endpoint.call("eth_getBlockByHash", one, False) for one in sorted(wanted)))
    return {block["hash"]: block["timestamp"] for block in blocks if block}


def _log(entry: Mapping[str, Any], contract: Address, times: Mapping[str, str]) -> Log:
    event, actor, *indexed = entry["topics"]
    data = bytes.fromhex(entry["data"].removeprefix("0x"))
    words = [int(word, 16) for word in indexed]
    words += [int.from_bytes(data[at : at + 32], "big") for at in range(0, len(data), 32)]
    if address(entry["address"]) != contract or event not in _TOPICS:
        raise FormatError(f"the endpoint gives an event that is not one of {contract}'s: {str(entry)[:400]}")
    return Log(
        actor=address(actor[-40:]),
        payload=payload_of(_TOPICS[event], words),
        place=Place(
            int(entry["blockNumber"], 16), entry["blockHash"], entry["transactionHash"], int(entry["logIndex"], 16)
        ),
        time=int(entry.get("blockTimestamp") or times[entry["blockHash"]], 16),
    )
