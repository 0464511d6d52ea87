"""Builds what both daemons stand on - key, ledger, store, peers - and runs a service on it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from aiohttp import ClientSession, TCPConnector
from eth_account.signers.local import LocalAccount

from fedchain.config.federation import load_federation
from fedchain.config.settings import DaemonConfig
from fedchain.core.ledger.records import Address, address
from fedchain.core.ports import Ledger, Store
from fedchain.crypto.keys import load_key
from fedchain.crypto.sealing import sealed
from fedchain.daemon.peers import Peers, announce
from fedchain.daemon.service import Service
from fedchain.daemon.web import application, client_tls, read_token, serve
from fedchain.ledger.ethereum import EthereumLedger
from fedchain.ledger.signer import RetryPolicy
from fedchain.store.files import FileBlobs
from fedchain.store.gateway import routes
from fedchain.store.peers import PeerStore

log = logging.getLogger(__name__)


async def run_daemon(config: DaemonConfig, make: Callable[[Address, Ledger, Store], Service]) -> None:
    """Run a daemon until SIGTERM, SIGINT or a failure: `make` builds its service from member, ledger and store."""
    account = await asyncio.to_thread(load_key, config.key.file, config.key.password())
    member = address(account.address)
    blobs = FileBlobs(config.folder / "blobs")
    connector = TCPConnector(ssl=client_tls(config.web.tls))
    async with ClientSession(connector=connector) as session, await _ledger(config, account) as ledger:
        own = announce(account, ledger.federation, config.web.public_url, int(time.time()))
        peers = Peers(own, config.peers, ledger.federation)
        store = PeerStore(blobs, peers.urls, session)
        service = make(member, ledger, sealed(store, "none"))
        app = application(service, read_token(config.web), [*routes(blobs), *peers.routes(service.is_member)])
        announcing = asyncio.create_task(peers.keep_announcing(session, service.is_member))
        try:
            await serve(app, config.web)
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
