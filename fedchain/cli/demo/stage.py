"""Lays out a federation on one machine: keys, contract, policy, members, data, configuration files."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from eth_account.signers.local import LocalAccount

from fedchain.aggregator.settings import AggregatorConfig
from fedchain.cli.daemons import write_config
from fedchain.cli.deploy import deploy_federation, publish_genesis
from fedchain.cli.ledger import open_ledger
from fedchain.config.federation import FederationFile, save_federation
from fedchain.config.secrets import read_password
from fedchain.config.settings import DaemonConfig
from fedchain.core.formats.modelfile import Arrays
from fedchain.core.ledger.records import Address, MemberSet, PolicySet, Role, address
from fedchain.core.rules.policy import Policy
from fedchain.crypto.keys import DEVNET, create_key, load_key
from fedchain.devnet.anvil import fund
from fedchain.node.settings import NodeConfig
from fedchain.store.files import FileBlobs

POLL_S: Final = 0.05
ROLES: Final = {"aggregator": Role.AGGREGATOR, "node": Role.TRAINER}
CONFIGS: Final[dict[str, type[DaemonConfig]]] = {"aggregator": AggregatorConfig, "node": NodeConfig}


@dataclass(frozen=True, slots=True)
class Actor:
    """One daemon of the federation."""

    name: str
    kind: str
    """The command that runs it: node or aggregator."""
    folder: Path
    member: Address
    url: str

    @property
    def config(self) -> Path:
        """Its configuration file."""
        return self.folder / f"{self.kind}.toml"

    @property
    def blobs(self) -> Path:
        """Its blobs."""
        return self.folder / "state" / "blobs"


@dataclass(frozen=True, slots=True)
class Stage:
    """A federation that is ready to start."""

    folder: Path
    federation: Path
    file: FederationFile
    aggregator: Actor
    sites: tuple[Actor, ...]

    @property
    def actors(self) -> tuple[Actor, ...]:
        """All daemons, the aggregator first."""
        return (self.aggregator, *self.sites)


@dataclass(frozen=True, slots=True)
class Site:
    """What a site brings."""

    name: str
    training: Mapping[str, Any]
    """Its [training] table."""
    settings: Mapping[str, Any]
    """Its [site] table."""
    node: Mapping[str, Any]
    """What else its node.toml says."""


async def build(folder: Path, rpc: str, *, task: str, policy: Policy, sites: Sequence[Site], genesis: Arrays) -> Stage:
    """Set up a federation in a folder: every party with keys, configuration and blobs of its own.

    `genesis` holds the arrays of version 0.
    """
    governor = new_key(folder / "governor")
    await fund(rpc, address(governor.address))
    file = await deploy_federation(rpc, governor)
    save_federation(folder / "federation.toml", file)

    aggregator = await new_actor(folder / "aggregator", "aggregator", rpc)
    actors = [aggregator, *[await new_actor(folder / site.name, "node", rpc) for site in sites]]
    blobs = FileBlobs(aggregator.blobs)
    async with await open_ledger(file, governor) as ledger:
        await ledger.append(PolicySet(policy.canonical()))
        for actor in actors:
            await ledger.append(MemberSet(actor.member, ROLES[actor.kind]))
    await publish_genesis(file, open_key(aggregator.folder), genesis, blobs)

    configure(aggregator, actors)
    for actor, site in zip(actors[1:], sites, strict=True):
        own = {"task": task, "training": dict(site.training), "site": dict(site.settings)}
        configure(actor, actors, {**site.node, **own})
    return Stage(folder, folder / "federation.toml", file, aggregator, tuple(actors[1:]))


async def new_actor(folder: Path, kind: str, rpc: str) -> Actor:
    """Make a party with a key, some of the development chain's money, and a port that nobody uses now."""
    member = address(new_key(folder).address)
    await fund(rpc, member)
    return Actor(folder.name, kind, folder, member, free_url())


def configure(actor: Actor, actors: Sequence[Actor], more: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Write a daemon's configuration; its peers are the other actors."""
    common = {
        "peers": [other.url for other in actors if other is not actor],
        "ledger": {"federation": "../federation.toml", "poll_s": POLL_S},
        "key": {"file": "key.json", "password_file": "password"},
        "web": {"port": int(actor.url.rpartition(":")[2])},
    }
    write_config(actor.config, CONFIGS[actor.kind], {**common, **more})


def free_url() -> str:
    """Ask the system for a port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def new_key(folder: Path) -> LocalAccount:
    """Make a key with a random password beside it, both for their owner only."""
    folder.mkdir(parents=True, exist_ok=True)
    password = folder / "password"
    password.touch(mode=0o600)
    password.write_text(secrets.token_urlsafe(16) + "\n")
    create_key(folder / "key.json", read_password(password, None), DEVNET)
    return open_key(folder)


def open_key(folder: Path) -> LocalAccount:
    """Open the key in a party's folder."""
    return load_key(folder / "key.json", read_password(folder / "password", None))
