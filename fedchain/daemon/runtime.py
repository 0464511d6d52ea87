"""Puts together what every daemon stands on - key, ledger, blobs, peers - and runs a service on it.

async with open_member(config) as member:
await serve(Node(member.address, member.ledger, member.store, …), config.web, member)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import ClientSession, TCPConnector
from eth_account.signers.local import LocalAccount

from fedchain.config.federation import load_federation
from fedchain.config.secrets import read_token
from fedchain.config.settings import DaemonConfig, WebConfig
from fedchain.core.ledger.records import Address, address
from fedchain.core.ports import Clock, Ledger, Offload, Store
from fedchain.crypto.keys import load_key
from fedchain.daemon.peers import Peers, announce
from fedchain.daemon.service import Service
from fedchain.daemon.web import application, client_tls, run_until_signal
from fedchain.ledger.ethereum import EthereumLedger
from fedchain.ledger.signer import RetryPolicy
from fedchain.store.files import FileBlobs
from fedchain.store.gateway import routes
from fedchain.store.peers import PeerStore
from fedchain.system.clock import SystemClock


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a federation with all that its daemon works with."""

    address: Address
    ledger: Ledger
    store: Store
    """Its blobs and, through them, its peers'."""
    blobs: FileBlobs
    """What it serves."""
    peers: Peers
    session: ClientSession
    """For calling peers."""
    clock: Clock
    offload: Offload


@asynccontextmanager
async def open_member(config: DaemonConfig) -> AsyncIterator[Member]:
    """Open key, ledger, blobs and peers as a configuration says, and close them in the opposite order.

    Raises ConfigError, LedgerError, LedgerUnreachable, DatabaseError.
    """
    clock = SystemClock()
    account = await asyncio.to_thread(load_key, config.key.file, config.key.password())
    blobs = FileBlobs(config.folder / "blobs")
    connector = TCPConnector(ssl=client_tls(config.web.tls))
    async with ClientSession(connector=connector) as session, await _ledger(config, account) as ledger:
        own = announce(account, ledger.federation, config.web.public_url, int(clock.now()))
        peers = Peers(own, config.peers, ledger.federation)
        store = PeerStore(blobs, peers.urls, session)
        yield Member(address(account.address), ledger, store, blobs, peers, session, clock, asyncio.to_thread)


async def serve(service: Service, config: WebConfig, member: Member) -> None:
    """Run a member's service behind its web face until SIGTERM, SIGINT or a failure; raises what the service raised."""
    own = [*routes(member.blobs), *member.peers.routes(service.is_member)]
    app = application(service, read_token(config.token_file), own)
    announcing = asyncio.create_task(
        member.peers.keep_announcing(member.session, service.is_member, member.clock), name="announce"
    )
    try:
        await run_until_signal(app, config)
    finally:
        announcing.cancel()


async def _ledger(config: DaemonConfig, account: LocalAccount) -> EthereumLedger:
    federation = load_federation(config.ledger.federation)
    confirmations = config.ledger.confirmations
    return await EthereumLedger.connect(
        config.ledger.rpc or federation.rpc,
        address(federation.contract),
        account,
        folder=config.folder,
        confirmations=federation.confirmations if confirmations is None else confirmations,
        retry_policy=RetryPolicy(poll=config.ledger.poll_s),
        deployment_block=federation.block,
        subscribe=config.ledger.subscribe,
    )
