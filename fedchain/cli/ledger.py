"""What the commands that read or write the ledger share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fedchain.config.federation import FederationFile, load_federation
from fedchain.core.ledger.records import Payload, Record, address
from fedchain.ledger.ethereum import EthereumLedger

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount


async def open_ledger(file: FederationFile, account: LocalAccount | None = None) -> EthereumLedger:
    """Open the ledger that a federation file names, without keeping anything on disk."""
    return await EthereumLedger.connect(
        file.rpc,
        address(file.contract),
        account,
        confirmations=file.confirmations,
        deployment_block=file.block,
    )


async def append(file: Path, account: LocalAccount, payloads: Sequence[Payload]) -> list[Record]:
    """Append records one after the other."""
    async with await open_ledger(load_federation(file), account) as ledger:
        return [await ledger.append(payload) for payload in payloads]
