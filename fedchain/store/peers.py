"""Blobs from peers' IPFS gateways: every block is checked as it arrives, by its own hash.

A blob is walked from its root: the CID names the root block, a checked node names the blocks under it, and the
size that the record gives fixes how long each block is. So a peer can send neither other bytes nor more of them.
Blocks are asked for one by one, a few at a time. That is as fast as one CAR stream (scripts/bench/fetch), any
gateway can do it, and a peer that fails costs what was asked of it, nothing that came.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from aiohttp import ClientError, ClientSession, ClientTimeout

from fedchain.core.errors import FormatError, Unavailable
from fedchain.core.ledger.content import CHUNK_SIZE, Content, Digest
from fedchain.core.ports import BlobReader
from fedchain.store.local import Download, Downloads
from fedchain.store.unixfs import Block, Tree, children, depth_first, root

AT_ONCE: Final = 4
"""Blocks that are asked of a peer at the same time."""

TIMEOUT: Final = ClientTimeout(total=60, sock_connect=5, sock_read=10)
"""Of one request, which brings at most 1 MiB: a peer that needs longer is no use."""

_HEADERS: Final = {"Accept": "application/vnd.ipld.raw", "Accept-Encoding": "identity"}


class PeerStore:
    """The blobs on this machine and, through them, those of peers.

    `peers` are URLs of gateways, without /ipfs; the list is read anew at each fetch, so it may change.
    """

    def __init__(
        self, local: Downloads, peers: Sequence[str], session: ClientSession, timeout: ClientTimeout = TIMEOUT
    ) -> None:
        self._local = local
        self._peers = peers
        self._session = session
        self._timeout = timeout
        self._failures: dict[str, int] = {}
        self._fetches: dict[Content, _Shared] = {}

    @property
    def local(self) -> Downloads:
        """Where fetched blobs end up and new ones are written."""
        return self._local

    async def fetch(self, content: Content) -> BlobReader:
        """Bring a blob here, verified, and open it; those who fetch one blob at one time share the download.

        Raises Unavailable, with what each peer answered, when none gives the blob; ContentError when the disk
        does not take it.
        """
        here = await asyncio.to_thread(self._open, content)
        if here is None:
            await self._join(content)
            here = await asyncio.to_thread(self._local.open, content)
        return here

    def _open(self, content: Content) -> BlobReader | None:
        return self._local.open(content) if self._local.has(content) else None

    async def _join(self, content: Content) -> None:
        """Wait for a blob's download, which goes on until the last who waits for it gives up."""
        shared = self._fetches.get(content)
        if shared is None:
            shared = self._fetches[content] = _Shared(asyncio.create_task(self._download(content)))
        shared.waiting += 1
        try:
            await asyncio.shield(shared.task)
        finally:
            shared.waiting -= 1
            if not shared.waiting:
                shared.task.cancel()
                self._fetches.pop(content)

    async def _download(self, content: Content) -> None:
        download, held = await asyncio.to_thread(self._begin, content)
        walk, answers = _Walk(content, held), []
        try:
            for url in sorted(self._peers, key=lambda url: self._failures.get(url, 0)):
                problem = await self._turn(url, walk, download)
                if problem is None:
                    await asyncio.to_thread(download.commit, walk.tree())
                    return
                answers.append(f"{url} {problem}")
            told = "; ".join(answers) or "there is none to ask"
            raise Unavailable(f"no peer has {content}: {told}; add a peer that has it, or try again later", content)
        finally:
            await asyncio.to_thread(download.suspend)

    def _begin(self, content: Content) -> tuple[Download, list[Digest]]:
        download = self._local.resume(content)
        return download, download.held()

    async def _turn(self, url: str, walk: _Walk, download: Download) -> str | None:
        """Ask one peer for all that is missing; return what was wrong, or None when nothing is missing any more."""
        problem: str | None = None
        asking: set[asyncio.Task[str | None]] = set()
        done: set[asyncio.Task[str | None]] = set()
        try:
            while asking or (walk.missing and not problem):
                while walk.missing and not problem and len(asking) < AT_ONCE:
                    asking.add(asyncio.create_task(self._bring(url, walk.missing.popleft(), walk, download)))
                done, asking = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
                problem = next(filter(None, [task.result() for task in done]), problem)
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, *done, return_exceptions=True)
        return problem

    async def _bring(self, url: str, block: Block, walk: _Walk, download: Download) -> str | None:
        """Bring one block here; return what was wrong, or None."""
        try:
            parts = await self._ask(url, block)
            await asyncio.to_thread(_check, block, parts, download)
            walk.take(block, parts)
        except (ClientError, TimeoutError, UnicodeError, _WrongAnswerError) as error:  # UnicodeError: http://a..b
            walk.missing.appendleft(block)
            if isinstance(error, _NotHereError):
                return "does not have it"
            self._failures[url] = self._failures.get(url, 0) + 1
            return f"failed at block {block.cid}: {str(error) or type(error).__name__}"
        self._failures.pop(url, None)
        return None

    async def _ask(self, url: str, block: Block) -> list[bytes]:
        """Request one block, and take not one byte more than it has."""
        async with self._session.get(
            f"{url.rstrip('/')}/ipfs/{block.cid}",
            params={"format": "raw"},
            headers=_HEADERS,
            timeout=self._timeout,
            allow_redirects=False,  # a peer does not make us call others
            auto_decompress=False,
            read_bufsize=CHUNK_SIZE,
        ) as response:
            if response.status in (404, 410):
                raise _NotHereError
            if response.status != 200:
                raise _WrongAnswerError(f"it answered with status {response.status}")
            parts, rest = [], block.length
            async for part in response.content.iter_any():
                parts.append(part)
                rest -= len(part)
                if rest < 0:
                    break
        if rest:
            raise _WrongAnswerError(f"it sent {'more' if rest < 0 else 'less'} than the block's {block.length} bytes")
        return parts


@dataclass(slots=True)
class _Shared:
    """One download, and how many wait for it."""

    task: asyncio.Task[None]
    waiting: int = 0


class _WrongAnswerError(Exception):
    """A peer did not send the block."""


class _NotHereError(_WrongAnswerError):
    """A peer says that it does not have the block: no fault of its."""


class _Walk:
    """How far a blob's tree is known, and which of its blocks are missing."""

    def __init__(self, content: Content, held: Sequence[Digest]) -> None:
        self.missing: deque[Block] = deque()
        self._content = content
        self._held = {index * CHUNK_SIZE: digest for index, digest in enumerate(held)}
        self._nodes: list[tuple[Block, bytes]] = []
        self._leaves: dict[int, Digest] = {}
        self._need(root(content))

    def take(self, block: Block, parts: Sequence[bytes]) -> None:
        """Take note of a block that is here, and of what it says is under it."""
        if block.height:
            data = b"".join(parts)
            self._nodes.append((block, data))
            try:
                for child in children(block, data):
                    self._need(child)
            except FormatError as error:
                raise Unavailable(f"there is no {self._content}: {error}") from error

    def tree(self) -> Tree:
        """Return the tree, once nothing is missing."""
        self._nodes.sort(key=lambda node: depth_first(node[0]))
        return Tree(self._content, tuple(self._nodes), tuple(self._leaves[at] for at in sorted(self._leaves)))

    def _need(self, block: Block) -> None:
        if block.height == 0:
            self._leaves[block.offset] = block.digest
        if block.height or self._held.get(block.offset) != block.digest:
            self.missing.append(block)


def _check(block: Block, parts: Sequence[bytes], download: Download) -> None:
    """Hash a block that came and, if it is a leaf, write it to its place."""
    actual = sha256()
    for part in parts:
        actual.update(part)
    if actual.digest() != block.digest:
        raise _WrongAnswerError(f"it sent wrong bytes, with sha2-256 {actual.hexdigest()}")
    if block.height == 0:
        download.put(block.offset, parts)
