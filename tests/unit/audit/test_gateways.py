"""Blobs that no folder has come from gateways, over real sockets."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import TestServer

from fedchain.audit.gateways import gateways
from fedchain.audit.report import Report
from fedchain.audit.sources import Folder
from fedchain.audit.verify import verify
from fedchain.simulation.federation import Simulation
from fedchain.store.files import FileBlobs
from fedchain.store.gateway import routes


async def judge(simulation: Simulation, folder: Path, *peers: str) -> Report:
    async with gateways(peers) as fallback:
        sources = [Folder(folder)]
        return await verify(simulation.chain.federation, sources=sources, fallback=fallback, ledger=simulation.ledger)


async def test_a_gateway_gives_what_the_folder_lacks(tmp_path: Path) -> None:
    simulation = Simulation(heap=FileBlobs(tmp_path / "blobs"))
    await simulation.deploy()
    await simulation.round()
    empty = tmp_path / "empty"
    empty.mkdir()
    app = web.Application()
    app.add_routes(routes(FileBlobs(tmp_path / "blobs")))
    async with TestServer(app) as server:
        report = await judge(simulation, empty, str(server.make_url("/")))
        assert (report.exit_code, report.recomputed) == (0, 1)
        url = str(server.make_url("/"))
    report = await judge(simulation, empty, url)  # nobody answers there any more
    assert (report.exit_code, report.recomputed, report.findings) == (2, 0, ())
    assert await asyncio.to_thread(list, empty.iterdir()) == []
