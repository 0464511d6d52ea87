"""An IPFS trustless gateway over the blobs on this machine.

    GET, HEAD /ipfs/{cid}?format=raw    one block: a root, an inner node or a leaf
    GET, HEAD /ipfs/{cid}?format=car    the tree under it as a CAR v1, depth first; dag-scope=block|entity|all

or with the Accept header application/vnd.ipld.raw, application/vnd.ipld.car. Everything is sent from the
flat files in pieces; what the page cache does not hold is read in a thread. Source: IPFS specifications,
Trustless Gateway and Path Gateway.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from fedchain.core.errors import ContentError, FormatError, Unavailable
from fedchain.core.ledger.content import Cid, Digest, cid_text, parse_cid
from fedchain.store import car
from fedchain.store.disk import FileReader
from fedchain.store.files import FileBlobs

log = logging.getLogger(__name__)

PROBE: Final = "bafkqaaa"
"""The CID of nothing (identity hash); gateways are probed with it (Trustless Gateway, Dedicated Probe Paths)."""

_PIECE: Final = 1 << 18
"""Bytes read and written at once."""

_RAW: Final = "application/vnd.ipld.raw"
_CAR: Final = "application/vnd.ipld.car"
_KINDS: Final = {"raw": _RAW, "car": _CAR}
_PROBED: Final = {
    _RAW: b"",
    _CAR: bytes.fromhex("19a265") + b"roots" + bytes.fromhex("81d82a450001550000") + b"\x67version\x01",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request asks for."""

    kind: str
    """Media type, without parameters."""
    whole: bool = False
    """The whole tree, not only its root block."""
    repeated: bool = False
    """A block that stands in the tree twice is sent twice."""

    @property
    def content_type(self) -> str:
        """The response's Content-Type."""
        return f"{_CAR}; version=1; order=dfs; dups={'y' if self.repeated else 'n'}" if self.kind == _CAR else _RAW

    def tag(self, cid: str) -> str:
        """Name the response's bytes, for the Etag header."""
        scope = "all" if self.whole else "block"
        return f"{cid}.car.{scope}.{'y' if self.repeated else 'n'}" if self.kind == _CAR else f"{cid}.raw"


def routes(blobs: FileBlobs) -> list[web.RouteDef]:
    """Return the gateway's routes."""

    async def serve(request: web.Request) -> web.StreamResponse:
        cid = Cid(request.match_info["cid"])
        wanted = negotiate(request.query, request.headers.get("Accept", ""))
        headers = _headers(cid, wanted)
        if cid == PROBE:
            return web.Response(body=_PROBED[wanted.kind], headers=headers)
        try:
            codec, digest = parse_cid(cid)
        except FormatError as error:
            raise web.HTTPBadRequest(text=f"{error}\n") from error
        try:
            answer = await asyncio.to_thread(_find, blobs, codec, digest, wanted)
        except ContentError as error:
            raise web.HTTPNotFound(text=f"{error}\n") from error
        if any(tag.value in (wanted.tag(cid), "*") for tag in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        return await answer.send(request, headers)

    return [web.get("/ipfs/{cid}", serve)]


def negotiate(query: Mapping[str, str], accept: str) -> Wanted:
    """Read what is wanted; `format` goes before the Accept header, and so do the car-… parameters.

    Raises HTTP 406 where neither raw nor CAR is asked for, or another CAR than this gateway writes; 400 where
    a parameter has an unknown value.
    """
    asked = _accepted(accept)
    kind = _KINDS.get(query["format"]) if "format" in query else next(iter(asked), None)
    if kind is None:
        raise web.HTTPNotAcceptable(text=f"ask for format=raw or format=car, or accept {_RAW} or {_CAR}\n")
    if kind == _RAW:
        return Wanted(_RAW)
    given = asked.get(_CAR, {})
    version, order, dups = (
        query.get(f"car-{name}", given.get(name, default))
        for name, default in (("version", "1"), ("order", "dfs"), ("dups", "n"))
    )
    if version != "1" or order not in ("dfs", "unk") or dups not in ("y", "n"):
        raise web.HTTPNotAcceptable(text="CARs have version=1, order=dfs and dups=y or dups=n here\n")
    scope = query.get("dag-scope", "all")
    if scope not in ("block", "entity", "all") or "entity-bytes" in query:
        raise web.HTTPBadRequest(text="dag-scope is block, entity or all; entity-bytes is not served: ask for blocks\n")
    return Wanted(_CAR, whole=scope != "block", repeated=dups == "y")


def _accepted(accept: str) -> dict[str, dict[str, str]]:
    """Read an Accept header: the media types that are served here, best first, each with its parameters."""
    entries: list[tuple[float, str, dict[str, str]]] = []
    for entry in accept.split(","):
        kind, *rest = (part.strip() for part in entry.split(";"))
        pairs = (parameter.partition("=") for parameter in rest)
        parameters = {name.strip().lower(): value.strip(' "') for name, _, value in pairs}
        with suppress(ValueError):
            entries.append((float(parameters.get("q", "1")), kind.lower(), parameters))
    best: dict[str, dict[str, str]] = {}
    for quality, kind, parameters in sorted(entries, key=lambda entry: -entry[0]):
        if kind in (_RAW, _CAR) and quality > 0:
            best.setdefault(kind, parameters)
    return best


@dataclass(frozen=True, slots=True)
class _Answer:
    """A response's body: bytes, and ranges of a blob's file."""

    blob: FileReader
    parts: list[bytes | range]

    async def send(self, request: web.Request, headers: Mapping[str, str]) -> web.StreamResponse:
        """Send the parts one after another; a file that turns out too short ends the connection."""
        response = web.StreamResponse(headers={**headers, "Content-Length": str(sum(map(len, self.parts)))})
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        try:
            for part in self.parts:
                await self._write(response, part)
        except ContentError as error:
            log.error("%s: cut off: %s", request.path, error)
            assert request.transport is not None
            request.transport.abort()
        return response

    async def _write(self, response: web.StreamResponse, part: bytes | range) -> None:
        if isinstance(part, bytes):
            await response.write(part)
            return
        for start in range(part.start, part.stop, _PIECE):
            await response.write(await self._read(start, min(_PIECE, part.stop - start)))

    async def _read(self, offset: int, size: int) -> bytes | bytearray:
        piece = bytearray(size)
        if self.blob.read_cached(offset, memoryview(piece)):
            return piece
        return await asyncio.to_thread(self.blob.read, offset, size)


def _find(blobs: FileBlobs, codec: int, digest: Digest, wanted: Wanted) -> _Answer:
    """Put together what is sent; raises Unavailable, Corrupt."""
    found = blobs.find(codec, digest)
    if found is None:
        raise Unavailable(f"{cid_text(codec, digest)} is not here")
    content, top = found
    blob = blobs.open(content)
    if wanted.kind == _RAW and top.height == 0:
        return _Answer(blob, [range(top.offset, top.offset + top.span)])
    tree = blobs.tree(content)
    nodes = {block.digest: data for block, data in tree.nodes}
    if wanted.kind == _RAW:
        return _Answer(blob, [nodes[digest]])
    blocks = [block for block in tree.blocks() if top.covers(block)] if wanted.whole else [top]
    if not wanted.repeated:
        blocks = list({block.digest: block for block in blocks}.values())
    parts: list[bytes | range] = [car.header(codec, digest)]
    for block in blocks:
        parts.append(car.prefix(block.codec, block.digest, block.length))
        parts.append(nodes[block.digest] if block.height else range(block.offset, block.offset + block.span))
    return _Answer(blob, parts)


def _headers(cid: Cid, wanted: Wanted) -> dict[str, str]:
    ending = "car" if wanted.kind == _CAR else "bin"
    return {
        "Content-Type": wanted.content_type,
        "Content-Disposition": f'attachment; filename="{cid}.{ending}"',
        "Etag": f'"{wanted.tag(cid)}"',
        "Cache-Control": "public, max-age=29030400, immutable",
        "X-Content-Type-Options": "nosniff",
        "X-Ipfs-Path": f"/ipfs/{cid}",
        "X-Ipfs-Roots": cid,
        "Accept-Ranges": "none",
    }
