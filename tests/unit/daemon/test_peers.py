"""Daemons tell each other where their gateways are."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from io import BytesIO

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer, unused_port
from eth_account import Account
from eth_account.signers.local import LocalAccount

from fedchain.core.ledger.records import Address, Federation, address
from fedchain.daemon.peers import PATH, Announcement, Announcements, Peers, announce
from fedchain.ledger.memory import FEDERATION

ALICE, BOB, CAROL, MALLORY = (Account.from_key(number.to_bytes(32, "big")) for number in range(1, 5))
MEMBERS = {address(one.address) for one in (ALICE, BOB, CAROL)}


def is_member(one: Address) -> bool:
    return one in MEMBERS


def told(*announcements: Announcement) -> Announcements:
    return Announcements(known=announcements)


def of(account: LocalAccount, url: str, time: int = 1, federation: Federation = FEDERATION) -> Announcement:
    return announce(account, federation, url, time)


@pytest.fixture
def alice() -> Peers:
    return Peers(of(ALICE, "http://alice"), ["http://configured/"], FEDERATION)


class Daemon:
    """A daemon's announcements on a socket of its own."""

    def __init__(self, account: LocalAccount, *configured: str) -> None:
        app = web.Application()
        self.server = TestServer(app, port=unused_port())
        self.url = f"http://127.0.0.1:{self.server.port}"
        self.peers = Peers(of(account, self.url), configured, FEDERATION)
        app.add_routes(self.peers.routes(is_member))


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with ClientSession() as opened:
        yield opened


def test_what_is_configured_comes_first_and_is_read_as_it_changes(alice: Peers) -> None:
    urls = alice.urls
    alice.hear(told(of(BOB, "http://bob"), of(CAROL, "http://configured")), is_member)
    assert urls == ["http://configured", "http://bob"]
    assert [one.member for one in alice.known.known] == [address(one.address) for one in (ALICE, BOB, CAROL)]


def test_only_members_are_heard(alice: Peers) -> None:
    alice.hear(told(of(MALLORY, "http://mallory")), is_member)
    alice.hear(told(of(BOB, "http://bob")), lambda _: False)
    assert alice.urls == ["http://configured"]
    assert len(alice.known.known) == 1


def test_the_newer_announcement_counts(alice: Peers) -> None:
    for url, time in (("http://old", 1), ("http://new", 3), ("http://late", 2), ("http://same", 3)):
        alice.hear(told(of(BOB, url, time)), is_member)
    assert alice.urls == ["http://configured", "http://new"]


def test_nobody_else_announces_for_a_daemon(alice: Peers) -> None:
    alice.hear(told(of(ALICE, "http://elsewhere", 99)), is_member)
    assert alice.known.known[0].url == "http://alice"
    assert alice.urls == ["http://configured"]


@pytest.mark.parametrize("signature", ["", "00", "zz", "ff" * 65, "00" * 65])
def test_a_forged_signature_is_ignored(alice: Peers, signature: str) -> None:
    true = of(BOB, "http://bob")
    alice.hear(told(true.model_copy(update={"signature": signature})), is_member)
    assert alice.urls == ["http://configured"]


def test_a_changed_announcement_is_ignored(alice: Peers) -> None:
    true = of(BOB, "http://bob")
    by_mallory = of(MALLORY, "http://bob").signature
    changes = [{"url": "http://bad"}, {"time": 2}, {"member": address(CAROL.address)}, {"signature": by_mallory}]
    for change in changes:
        alice.hear(told(true.model_copy(update=change)), is_member)
    assert alice.urls == ["http://configured"]


def test_an_address_in_another_spelling_is_no_member(alice: Peers) -> None:
    alice.hear(told(of(BOB, "http://bob").model_copy(update={"member": BOB.address})), is_member)
    assert alice.urls == ["http://configured"]


@pytest.mark.parametrize(
    "other", [replace(FEDERATION, chain_id=1), replace(FEDERATION, contract=Address("0x" + "11" * 20))]
)
def test_an_announcement_in_another_federation_is_ignored(alice: Peers, other: Federation) -> None:
    alice.hear(told(of(BOB, "http://bob", federation=other)), is_member)
    assert alice.urls == ["http://configured"]


def test_of_several_announcements_of_one_member_one_is_looked_at(alice: Peers) -> None:
    forged = of(MALLORY, "http://mallory").model_copy(update={"member": address(BOB.address)})
    alice.hear(told(*[forged] * 3000, of(BOB, "http://bob")), is_member)
    assert alice.urls == ["http://configured", "http://bob"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b"[" * 100_000,
        b'{"known": 1}',
        b'{"known": [{}]}',
        b'{"known": [], "more": 1}',
        json.dumps({"known": [{"url": "file:///etc", "member": "0x", "time": 1, "signature": ""}]}).encode(),
        json.dumps({"known": [{"url": "http://a b", "member": "0x", "time": 1, "signature": ""}]}).encode(),
        json.dumps({"known": [{"url": "http://a?b", "member": "0x", "time": 1, "signature": ""}]}).encode(),
        json.dumps({"known": [{"url": "http://a", "member": "0x", "time": -1, "signature": ""}]}).encode(),
        json.dumps({"known": [{"url": "http://a", "member": "0x", "time": 1e3, "signature": ""}]}).encode(),
        json.dumps({"known": [{"url": "http://" + "a" * 500, "member": "0x", "time": 1, "signature": ""}]}).encode(),
    ],
)
async def test_a_malformed_body_is_a_bad_request(session: ClientSession, body: bytes) -> None:
    bob = Daemon(BOB)
    async with bob.server, session.post(bob.url + PATH, data=body) as answer:
        assert answer.status == 400
        assert (await answer.text()).startswith("announcements: ")


async def test_a_body_that_is_too_large_is_refused(session: ClientSession) -> None:
    bob = Daemon(BOB)
    async with bob.server:
        async with session.post(bob.url + PATH, data=BytesIO(b" " * (2 << 20))) as answer:
            assert answer.status == 413
        packed = gzip.compress(b" " * (16 << 20))
        async with session.post(bob.url + PATH, data=packed, headers={"Content-Encoding": "gzip"}) as answer:
            assert answer.status == 413


async def test_an_announcement_reaches_a_third_daemon(session: ClientSession) -> None:
    bob = Daemon(BOB)
    alice, carol = Daemon(ALICE, bob.url), Daemon(CAROL, bob.url)
    async with alice.server, bob.server, carol.server:
        await alice.peers.tell(session, is_member)
        await carol.peers.tell(session, is_member)
        assert bob.peers.urls == [alice.url, carol.url]
        assert carol.peers.urls == [bob.url, alice.url]  # heard from Bob
        await carol.peers.tell(session, is_member)
        assert alice.peers.urls == [bob.url, carol.url]  # heard from Carol, who called because Bob told her


async def test_peers_that_fail_or_lie_stop_nobody(session: ClientSession) -> None:
    true = told(of(CAROL, "http://carol")).canonical()

    async def nonsense(_request: web.Request) -> web.Response:
        return web.Response(body=b"[")

    async def failure(_request: web.Request) -> web.Response:
        raise web.HTTPInternalServerError(text=true.decode())

    async def too_much(_request: web.Request) -> web.Response:
        return web.Response(body=true + b" " * (1 << 20))

    async def endless(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(true)
        return answer

    async def packed(_request: web.Request) -> web.Response:
        return web.Response(body=gzip.compress(true), headers={"Content-Encoding": "gzip"})

    async def elsewhere(_request: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect(f"/true{PATH}")

    async def honest(_request: web.Request) -> web.Response:
        return web.Response(body=true)

    app = web.Application()
    liars = {f.__name__: f for f in (nonsense, failure, too_much, endless, packed, elsewhere)}
    app.add_routes([web.post(f"/{name}{PATH}", answer) for name, answer in liars.items()])
    app.add_routes([web.post(f"/true{PATH}", honest)])
    async with TestServer(app) as server:
        base = f"http://127.0.0.1:{server.port}"
        bad = [f"{base}/{name}" for name in liars]
        bad += [f"http://127.0.0.1:{unused_port()}", "http://a..b", "http://[x]", "http://h:99999"]
        alone = Peers(of(ALICE, "http://alice"), bad, FEDERATION)
        await alone.tell(session, is_member)
        assert alone.urls == bad
        alice = Peers(of(ALICE, "http://alice"), [*bad, f"{base}/true"], FEDERATION)
        await alice.tell(session, is_member)
        assert alice.urls == [*bad, f"{base}/true", "http://carol"]
