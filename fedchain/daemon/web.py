"""The web face of a daemon: health, readiness, metrics, status, control; and its life from start to SIGTERM."""

from __future__ import annotations

import asyncio
import hmac
import logging
import signal
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from typing import Any, Final

from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from fedchain.config.settings import TlsConfig, WebConfig
from fedchain.core.errors import ConfigError
from fedchain.daemon.service import Service

log = logging.getLogger(__name__)

GRACE_S: Final = 10.0
"""Seconds that open requests have to end after SIGTERM."""


SERVICE: Final = web.AppKey("service", Service)
TOKEN: Final = web.AppKey("token", str)
WORK: Final = web.AppKey("work", asyncio.Task[None])


def application(service: Service, token: str | None, routes: Iterable[web.AbstractRouteDef] = ()) -> web.Application:
    """Build the application: GET /healthz, /readyz, /metrics, /status; POST /control/{action} with a token."""
    app = web.Application()
    app[SERVICE] = service
    if token:
        app[TOKEN] = token
    app.add_routes(
        [
            web.get("/healthz", _health),
            web.get("/readyz", _ready),
            web.get("/metrics", _metrics),
            web.get("/status", _status),
            web.post("/control/{action}", _control),
            *routes,
        ]
    )
    app.cleanup_ctx.append(_work)
    return app


async def run_until_signal(app: web.Application, config: WebConfig) -> None:
    """Run the daemon until SIGTERM or SIGINT, or until its work fails; raises what the work raised."""
    tls = _tls(config.tls)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=GRACE_S)
    await runner.setup()
    try:
        site = web.TCPSite(runner, config.host, config.port, ssl_context=tls)
        try:
            await site.start()
        except OSError as error:
            raise ConfigError(f"web.port = {config.port}: cannot listen on {config.host}: {error.strerror}") from error
        log.info("listening on %s", config.public_url)
        stopping = asyncio.create_task(stop.wait())
        ends: set[asyncio.Task[Any]] = {stopping, app[WORK]}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if app[WORK].done():
            app[WORK].result()
        log.info("stopping")
    finally:
        await runner.cleanup()


def client_tls(config: TlsConfig | None) -> ssl.SSLContext:
    """Build the TLS with which a daemon calls others: it shows its own certificate; raises ConfigError.

    Servers are trusted whom the system's CAs vouch for, or `client_ca`: a federation may have a CA of its own.
    """
    context = ssl.create_default_context()
    return context if config is None else _loaded(context, config)


async def _work(app: web.Application) -> AsyncIterator[None]:
    app[WORK] = asyncio.create_task(app[SERVICE].run(), name="work")
    yield
    app[WORK].cancel()
    with suppress(asyncio.CancelledError):
        await app[WORK]


async def _health(_request: web.Request) -> web.Response:
    return web.json_response({"status": "alive"})


async def _ready(request: web.Request) -> web.Response:
    not_ready = request.app[SERVICE].not_ready()
    return web.json_response({"ready": not_ready is None, "not_ready": not_ready}, status=503 if not_ready else 200)


async def _metrics(request: web.Request) -> web.Response:
    body = generate_latest(request.app[SERVICE].registry)
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _status(request: web.Request) -> web.Response:
    return web.json_response(request.app[SERVICE].status())


async def _control(request: web.Request) -> web.Response:
    token = request.app.get(TOKEN)
    given = request.headers.get("Authorization", "").removeprefix("Bearer ").encode(errors="surrogateescape")
    if token is None or not hmac.compare_digest(token.encode(), given):
        raise web.HTTPUnauthorized(text="control needs the token of web.token_file: Authorization: Bearer …\n")
    try:
        request.app[SERVICE].control(request.match_info["action"])
    except ConfigError as error:
        raise web.HTTPBadRequest(text=f"{error}\n") from error
    return web.json_response(request.app[SERVICE].status())


def _tls(config: TlsConfig | None) -> ssl.SSLContext | None:
    if config is None:
        return None
    context = _loaded(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), config)
    if config.client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _loaded(context: ssl.SSLContext, config: TlsConfig) -> ssl.SSLContext:
    """Load the daemon's own certificate and the CA that it trusts; raises ConfigError."""
    try:
        context.load_cert_chain(config.certificate, config.key, password="")  # an encrypted key asks no terminal
        if config.client_ca is not None:
            context.load_verify_locations(config.client_ca)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"web.tls: {config.certificate}, {config.key}, {config.client_ca}: {error}") from error
    return context
