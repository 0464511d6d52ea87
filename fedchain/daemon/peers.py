"""Peers: who serves blobs, as configured and as members announce themselves.

A daemon signs where its gateway is and tells its peers, who answer with what they have heard. So an aggregator
that starts anew on another machine is found by every node that it reads from. An announcement is taken from
members only: nobody else can make a daemon call a URL. What a peer then sends is checked block by block.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Annotated, Final

from aiohttp import ClientError, ClientSession, ClientTimeout, web
from eth_account.signers.local import LocalAccount
from pydantic import Field, ValidationError

from fedchain.config.settings import GatewayUrl
from fedchain.core.errors import FormatError
from fedchain.core.formats.document import Count, Document, explain
from fedchain.core.ledger.records import Address, Federation, address
from fedchain.core.ports import Clock
from fedchain.crypto.keys import sign_text, text_signer

log = logging.getLogger(__name__)

EVERY_S: Final = 30.0
"""Seconds between two announcements."""

PATH: Final = "/announce"
_TIMEOUT: Final = ClientTimeout(total=5)
_MAX_BODY: Final = 1 << 20


class Announcement(Document):
    """Where a member's gateway is, signed by the member (EIP-191)."""

    url: Annotated[GatewayUrl, Field(max_length=500)]
    member: str
    time: Count
    """Seconds since 1970; of two announcements of a member, the later one counts."""
    signature: str

    def text(self, federation: Federation) -> str:
        """Encode what is signed."""
        place = f"{federation.chain_id}/{federation.contract}"
        return f"fedchain gateway of {self.member} in {place} at {self.time}: {self.url}"


class Announcements(Document):
    """What a daemon says and answers: the announcements it knows, its own first."""

    known: tuple[Announcement, ...]


def announce(account: LocalAccount, federation: Federation, url: str, time: int) -> Announcement:
    """Sign where one's own gateway is."""
    bare = Announcement(url=url, member=address(account.address), time=time, signature="")
    return bare.model_copy(update={"signature": sign_text(account, bare.text(federation))})


class Peers:
    """The gateways that a daemon reads from: configured ones first, then those that members announced."""

    def __init__(self, own: Announcement, configured: Iterable[str], federation: Federation) -> None:
        self.urls: list[str] = [url.rstrip("/") for url in configured]
        """For the store, which reads this list at each fetch."""
        self._own = own
        self._configured = tuple(self.urls)
        self._federation = federation
        self._heard: dict[Address, Announcement] = {}

    @property
    def known(self) -> Announcements:
        """What this daemon tells others."""
        return Announcements(known=(self._own, *self._heard.values()))

    def hear(self, told: Announcements, is_member: Callable[[Address], bool]) -> None:
        """Take in announcements of members that are newer than what is known; ignore all others.

        Of several of one member the last is looked at: nobody can make a daemon check signatures for long.
        """
        for member, announcement in {Address(one.member): one for one in told.known}.items():
            if member == self._own.member or not is_member(member):
                continue
            before = self._heard.get(member)
            if before is not None and before.time >= announcement.time:
                continue
            if text_signer(announcement.text(self._federation), announcement.signature) == member:
                self._heard[member] = announcement
                log.info("peer %s is at %s", member, announcement.url)
        announced = [a.url for a in self._heard.values() if a.url not in self._configured]
        self.urls[:] = [*self._configured, *announced]

    def routes(self, is_member: Callable[[Address], bool]) -> list[web.RouteDef]:
        """Return the route that hears announcements and answers with those known: POST /announce."""

        async def heard(request: web.Request) -> web.Response:
            try:
                self.hear(_parse(await request.read()), is_member)
            except FormatError as error:
                raise web.HTTPBadRequest(text=f"{error}\n") from error
            return web.Response(body=self.known.canonical(), content_type="application/json")

        return [web.post(PATH, heard)]

    async def keep_announcing(self, session: ClientSession, is_member: Callable[[Address], bool], clock: Clock) -> None:
        """Tell all peers where this daemon is, now and again; a peer that does not answer is asked next time."""
        while True:
            await self.tell(session, is_member)
            await clock.sleep(EVERY_S)

    async def tell(self, session: ClientSession, is_member: Callable[[Address], bool]) -> None:
        """Tell all peers once what this daemon knows, and hear what they answer."""
        await asyncio.gather(*(self._tell_one(session, url, is_member) for url in self.urls))

    async def _tell_one(self, session: ClientSession, url: str, is_member: Callable[[Address], bool]) -> None:
        try:
            async with session.post(
                url + PATH,
                data=self.known.canonical(),
                headers={"Accept-Encoding": "identity"},
                timeout=_TIMEOUT,
                allow_redirects=False,  # a peer does not make us call others
                auto_decompress=False,  # nor unpack more than it sends
            ) as answer:
                answer.raise_for_status()
                if (answer.content_length or _MAX_BODY) < _MAX_BODY:
                    self.hear(_parse(await answer.read()), is_member)
        except (ClientError, TimeoutError, FormatError, ValueError) as error:  # ValueError: a malformed URL
            log.debug("peer %s did not take the announcement: %s", url, error)


def _parse(body: bytes) -> Announcements:
    try:
        return Announcements.model_validate_json(body)
    except ValidationError as error:
        raise FormatError(f"announcements: {explain(error)}") from error
