"""One JSON-RPC endpoint, spoken to through web3's provider.

web3's own session opens a connection for every request (0.48 ms on loopback, and a TLS handshake elsewhere), so
the provider is given one that keeps them (0.19 ms).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from eth_typing import URI
from web3 import AsyncHTTPProvider
from web3.types import RPCEndpoint

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
    """A JSON-RPC endpoint over HTTP."""

    def __init__(self, url: str, provider: AsyncHTTPProvider) -> None:
        parts = urlsplit(url)
        self.name = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        """For messages: without user, password and path, where access keys stand."""
        self._provider = provider

    @classmethod
    async def open(cls, url: str) -> Endpoint:
        """Make an endpoint; nothing is sent yet."""
        provider = AsyncHTTPProvider(URI(url), {"timeout": _TIMEOUT}, exception_retry_configuration=None)
        await provider.cache_async_session(aiohttp.ClientSession(raise_for_status=True))
        return cls(url, provider)

    async def close(self) -> None:
        """Close the connections."""
        await self._provider.disconnect()

    async def call(self, method: str, *params: object) -> Any:
        """Return a method's result; raises LedgerUnreachable, RpcError."""
        try:
            answer = await self._request(method, params)
        except aiohttp.ClientResponseError as error:
            if error.status in _BUSY:
                raise LedgerUnreachable(f"{self.name} is busy (HTTP {error.status}): try again later") from error
            raise RpcError(method, f"HTTP {error.status} {error.message}") from error
        except TimeoutError as error:
            raise TimedOut(f"{self.name} did not answer {method} in {_TIMEOUT.total} s: try again later") from error
        except aiohttp.ClientError as error:
            raise LedgerUnreachable(f"{self.name} does not answer ({error}): start it, or name another") from error
        except json.JSONDecodeError as error:
            raise RpcError(method, f"{self.name} answers with something that is not JSON") from error
        if not isinstance(answer, Mapping) or "result" not in answer:
            raise RpcError(method, *_explain(answer))
        return answer["result"]

    @contextmanager
    def sense(self, what: str) -> Iterator[None]:
        """Read an answer; raises LedgerError where its shape is not what the method promises."""
        try:
            yield
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise LedgerError(f"{self.name} gives a {what} that makes no sense: {error!r}") from error

    async def _request(self, method: str, params: tuple[object, ...]) -> Any:
        try:
            return await self._provider.make_request(RPCEndpoint(method), params)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            # A kept connection that the other side closed meanwhile; every call here may be repeated.
            return await self._provider.make_request(RPCEndpoint(method), params)


def _explain(answer: object) -> tuple[str, object]:
    """Take message and data from an error answer, whatever its shape."""
    error = answer.get("error", answer) if isinstance(answer, Mapping) else answer
    if isinstance(error, Mapping):
        return str(error.get("message", error)), error.get("data")
    return str(error)[:200], None
