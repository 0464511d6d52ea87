"""`fedchain policy`: the rules by which updates are admitted and merged."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from fedchain.cli.ledger import append, open_ledger, put
from fedchain.cli.options import FEDERATION, Blobs, FederationOption, Json, Key, PasswordFile, open_key
from fedchain.cli.output import show
from fedchain.core import policy as policies
from fedchain.core.document import explain
from fedchain.core.errors import ConfigError
from fedchain.core.follower import Follower
from fedchain.core.policy import Policy
from fedchain.core.records import PolicySet, Seq
from fedchain.daemon.federation import load_federation
from fedchain.store.alone import LoneStore
from fedchain.store.files import FileBlobs

app = typer.Typer(help="Set and show the policy.", no_args_is_help=True)


@app.command("set")
def set_policy(
    key: Key,
    blobs: Blobs,
    algorithm: Annotated[
        str | None, typer.Option("--algorithm", help="fedbuff, fedasync or fedavg, with the options below.")
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", help="Or a policy document (JSON).")] = None,
    size: Annotated[int, typer.Option("--size", help="Updates per version (fedbuff).")] = 10,
    rate: Annotated[float | None, typer.Option("--rate", help="Server learning rate, or mixing rate.")] = None,
    max_staleness: Annotated[int, typer.Option("--max-staleness", help="Versions that a base may lie back.")] = 16,
    timeout_s: Annotated[int, typer.Option("--timeout-s", help="Seconds after which a buffer may be closed.")] = 3600,
    password_file: PasswordFile = None,
    federation: FederationOption = FEDERATION,
    json: Json = False,
) -> None:
    """Put a policy into force.

    Example: fedchain policy set --algorithm fedbuff --size 3 --key governor/key.json --blobs aggregator/state/blobs
    """
    if (algorithm is None) == (file is None):
        raise ConfigError("policy set needs either --algorithm or --file")
    limits = {"max_staleness": max_staleness, "timeout_s": timeout_s}
    match algorithm:
        case None:
            policy = read_policy(file or Path())
        case "fedbuff":
            policy = policies.fedbuff(size=size, rate=rate or 1.0, **limits)
        case "fedasync":
            policy = policies.fedasync(alpha=rate or 0.6, **limits)
        case "fedavg":
            policy = policies.fedavg(timeout_s=timeout_s)
        case _:
            raise ConfigError(f"--algorithm {algorithm}: fedbuff, fedasync and fedavg are known")
    account = open_key(key, password_file)
    content = put(FileBlobs(blobs), policy.canonical())
    record = asyncio.run(append(federation, account, [PolicySet(content)]))[0]
    show({"seq": record.seq, "policy": policy.model_dump(mode="json")}, json=json)


@app.command("show")
def show_policy(
    blobs: Blobs,
    federation: FederationOption = FEDERATION,
    json: Json = False,
) -> None:
    """Print the policy in force.

    Example: fedchain policy show --blobs aggregator/state/blobs
    """

    async def read() -> dict[str, Any]:
        async with await open_ledger(load_federation(federation)) as ledger:
            follower = Follower(ledger, LoneStore(FileBlobs(blobs)))
            await follower.advance()
            seq, content, policy = follower.history.policy(Seq(follower.history.length))
            return {"seq": seq, "cid": content.cid, **policy.model_dump(mode="json")}

    show(asyncio.run(read()), json=json)


def read_policy(file: Path) -> Policy:
    """Read a policy document in any JSON spelling; raises ConfigError naming key, value and what is allowed."""
    try:
        return Policy.model_validate_json(file.read_bytes())
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from error
    except ValidationError as error:
        raise ConfigError(f"{file}: {explain(error)}") from error
