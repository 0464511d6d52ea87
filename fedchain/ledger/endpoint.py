"""One JSON-RPC endpoint over HTTP, on connections that are kept.

web3's AsyncHTTPProvider is not used: it opens a connection for every request (0.48 ms on loopback against 0.11 ms
here, and a TLS handshake elsewhere), and a request that is cancelled while it waits for the provider's lock, one
for the whole process, can leave that lock taken for ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from pydantic_core import from_json

from fedchain.core.errors import LedgerError, LedgerUnreachable

_TIMEOUT: Final = aiohttp.ClientTimeout(total=15)
_BUSY: Final = (429, 502, 503, 504)


class RpcError(LedgerError):
    """The endpoint answers, but with an error (JSON-RPC 2.0, section 5.1)."""

    def __init__(self, method: str, message: str, data: object = None) -> None:
        self.message = message
        self.data = data
        super().__init__(f"the ledger's endpoint refuses {method}: {message}")


class TimedOut(LedgerUnreachable):
    """The endpoint took the request and did not answer in time."""


class Endpoint:
    """A JSON-RPC endpoint; make it on the event loop that uses it."""

    def __init__(self, url: str) -> None:
        self.name = shown(url)
        """For messages."""
        self._url = url
        self._session = aiohttp.ClientSession(timeout=_TIMEOUT)
        self._ids = count(1)

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def call(self, method: str, *params: object) -> Any:
        """Return a method's result; raises LedgerUnreachable, RpcError."""
        request = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}
        try:
            status, body = await self._post(request)
        except TimeoutError as error:
            raise TimedOut(f"{self.name} did not answer {method} in {_TIMEOUT.total} s: try again later") from error
        except aiohttp.ClientError as error:
            raise LedgerUnreachable(f"{self.name} does not answer ({error}): start it, or name another") from error
        if status in _BUSY:
            raise LedgerUnreachable(f"{self.name} is busy (HTTP {status}): try again later")
        try:
            answer = from_json(body)
        except ValueError:
            raise RpcError(method, f"HTTP {status}, {body[:200]!r}") from None
        if not isinstance(answer, Mapping) or "result" not in answer:
            raise RpcError(method, *_explain(answer))
        return answer["result"]

    @contextmanager
    def parsing(self, what: str) -> Iterator[None]:
        """Read an answer; raises LedgerError where its shape is not what the method promises."""
        try:
            yield
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise LedgerError(f"{self.name} gives a {what} that makes no sense: {error!r}") from error

    async def _post(self, request: Mapping[str, object]) -> tuple[int, bytes]:
        try:
            return await self._post_once(request)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            # A kept connection that the other side closed meanwhile; every call here may be repeated.
            return await self._post_once(request)

    async def _post_once(self, request: Mapping[str, object]) -> tuple[int, bytes]:
        async with self._session.post(self._url, json=request) as response:
            return response.status, await response.read()


def shown(url: str) -> str:
    """Return a URL for messages: without user, password and path, where access keys stand."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _explain(answer: object) -> tuple[str, object]:
    """Take message and data from an error answer, whatever its shape."""
    error = answer.get("error", answer) if isinstance(answer, Mapping) else answer
    if isinstance(error, Mapping):
        return str(error.get("message", error)), error.get("data")
    return str(error)[:200], None
