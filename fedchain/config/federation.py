"""The file that names a federation: `fedchain deploy` writes it, all other commands read it."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from fedchain.config.settings import Confirmations, RpcUrl, Table, load_settings, render
from fedchain.core.errors import ConfigError

ADDRESS = r"^0x[0-9a-fA-F]{40}$"


class FederationFile(Table):
    """Where a federation's ledger is."""

    rpc: RpcUrl = Field(description="URL of an Ethereum JSON-RPC endpoint; your own where you can")
    chain_id: int = Field(ge=1, description="the chain's id (EIP-155)")
    contract: str = Field(pattern=ADDRESS, description="address of the FederationLedger contract")
    block: int = Field(ge=0, description="block in which the contract was deployed: reading starts there")
    confirmations: Confirmations | None = Field(
        None, description='blocks that must follow a record, or "finalized"; without it, each start asks the chain'
    )


def load_federation(path: Path) -> FederationFile:
    """Read a federation file; raises ConfigError naming file, key, value and what is allowed."""
    if not path.exists():
        raise ConfigError(f"{path}: there is no such file; `fedchain deploy` writes it")
    return load_settings(path, FederationFile)


def save_federation(path: Path, federation: FederationFile) -> None:
    """Write a federation file, with a comment on every line; raises ConfigError, with what was to be written."""
    values = federation.model_dump(exclude_none=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render(FederationFile, values), encoding="utf-8")
    except OSError as error:
        said = ", ".join(f"{key} = {value}" for key, value in values.items())
        raise ConfigError(
            f"{path}: {error.strerror}; the contract is there, so write the file by hand: {said}"
        ) from error
