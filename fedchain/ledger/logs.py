"""Events of the contract as an endpoint gives them, and the records that they are (Ethereum JSON-RPC, eth_getLogs)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedchain.core.errors import FormatError
from fedchain.core.ledger.records import Address, Payload, Place, address
from fedchain.ledger.calls import topics
from fedchain.ledger.endpoint import Endpoint, RpcError, TimedOut


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
        times, kinds = await _times(endpoint, found), topics()
        return [_log(entry, contract, times, kinds) for entry in found]


async def _times(endpoint: Endpoint, entries: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Ask for the times of the blocks whose events come without one: older nodes leave it out."""
    wanted = {entry["blockHash"] for entry in entries if not entry.get("blockTimestamp")}
    blocks = await asyncio.gather(*(endpoint.call("eth_getBlockByHash", one, False) for one in sorted(wanted)))
    return {block["hash"]: block["timestamp"] for block in blocks if block}


def _log(
    entry: Mapping[str, Any], contract: Address, times: Mapping[str, str], kinds: Mapping[str, type[Payload]]
) -> Log:
    event, actor, *indexed = entry["topics"]
    if address(entry["address"]) != contract or event not in kinds:
        raise FormatError(f"the endpoint gives an event that is not one of {contract}'s: {str(entry)[:400]}")
    data = bytes.fromhex(entry["data"].removeprefix("0x"))
    return Log(
        actor=address(actor[-40:]),
        payload=kinds[event].encoding.decode(data, [int(word, 16) for word in indexed]),
        place=Place(
            int(entry["blockNumber"], 16), entry["blockHash"], entry["transactionHash"], int(entry["logIndex"], 16)
        ),
        time=int(entry.get("blockTimestamp") or times[entry["blockHash"]], 16),
    )
