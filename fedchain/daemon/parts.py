"""Builds what both daemons stand on - key, ledger, store, peers - and runs a service on it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from aiohttp import ClientSession, TCPConnector
from eth_account.signers.local import LocalAccount

from fedchain.core.ports import Ledger, Store
from fedchain.core.records import Address, address
from fedchain.crypto.keys import load_key
from fedchain.crypto.sealing import sealed
from fedchain.daemon.federation import load_federation
from fedchain.daemon.peers import Peers, announce
from fedchain.daemon.service import Service
from fedchain.daemon.settings import DaemonTable
from fedchain.daemon.web import application, calling, read_token, serve
from fedchain.ledger.ethereum import EthereumLedger
from fedchain.ledger.signer import Patience
from fedchain.store.files import FileBlobs
from fedchain.store.gateway import routes
from fedchain.store.peers import PeerStore

log = logging.getLogger(__name__)


async def run_daemon(table: DaemonTable, make: Callable[[Address, Ledger, Store], Service]) -> None:
    """Run a daemon until SIGTERM, SIGINT or a failure: `make` builds its service from member, ledger and store."""
    account = await asyncio.to_thread(load_key, table.key.file, table.key.password())
    member = address(account.address)
    blobs = FileBlobs(table.folder / "blobs")
    connector = TCPConnector(ssl=calling(table.web.tls))
    async with ClientSession(connector=connector) as session, await _ledger(table, account) as ledger:
        own = announce(account, ledger.federation, table.web.public_url, int(time.time()))
        peers = Peers(own, table.peers, ledger.federation)
        store = PeerStore(blobs, peers.urls, session)
        service = make(member, ledger, sealed(store, "none"))
        app = application(service, read_token(table.web), [*routes(blobs), *peers.routes(service.is_member)])
        announcing = asyncio.create_task(peers.keep_announcing(session, service.is_member))
        try:
            await serve(app, table.web)
        finally:
            announcing.cancel()


async def _ledger(table: DaemonTable, account: LocalAccount) -> EthereumLedger:
    federation = load_federation(table.ledger.federation)
    return await EthereumLedger.connect(
        table.ledger.rpc or federation.rpc,
        address(federation.contract),
        account,
        folder=table.folder,
        confirmations=table.ledger.confirmations,
        patience=Patience(poll=table.ledger.poll_s),
        birth=federation.block,
    )
