"""The network: every member's blobs, and the links through which members fetch from each other."""

from __future__ import annotations

from dataclasses import dataclass, field

from fedchain.core.errors import Unavailable
from fedchain.core.ledger.content import Content
from fedchain.core.ledger.records import Address
from fedchain.core.ports import BlobReader, Blobs, BlobWriter, Clock
from fedchain.store.hashing import HashingWriter
from fedchain.store.memory import MemoryBlobs


@dataclass(slots=True)
class Link:
    """How a member is reached, and how it serves."""

    blobs: Blobs
    latency_s: float = 0.0
    """What each request costs, to it or from it."""
    is_up: bool = True
    withheld: dict[Content, frozenset[Address]] = field(default_factory=dict)
    """What it has and does not give, and to whom; to nobody where none is named."""
    wrong: dict[Content, bytes] = field(default_factory=dict)
    """What it gives other bytes for."""

    def serve(self, asker: Address, content: Content) -> bytes | None:
        """Return what a member gives when asked for a blob: the blob's bytes, other ones, or nothing."""
        if content in self.wrong:
            return self.wrong[content]
        refused = self.withheld.get(content)
        if refused is not None and (not refused or asker in refused):
            return None
        return self.blobs.open(content).read(0, content.size) if self.blobs.has(content) else None


class Network:
    """All members' blobs, and who reaches whom."""

    def __init__(self, clock: Clock, heap: Blobs | None = None) -> None:
        """Begin without members; each has blobs of its own, unless all share one heap."""
        self._clock = clock
        self._heap = heap
        self.links: dict[Address, Link] = {}
        """By member, in the order in which they are asked."""

    def link(self, member: Address) -> Link:
        """Return a member's link; one who is new joins."""
        if member not in self.links:
            self.links[member] = Link(self._heap or MemoryBlobs())
        return self.links[member]

    def store(self, member: Address) -> NetworkStore:
        """Return the network as a member sees it."""
        self.link(member)
        return NetworkStore(self, member)

    def cut(self, *members: Address) -> None:
        """Cut members off: they fetch nothing, and nobody fetches from them."""
        for member in members:
            self.link(member).is_up = False

    def heal(self, *members: Address) -> None:
        """Connect members again."""
        for member in members:
            self.link(member).is_up = True

    def withhold(self, owner: Address, content: Content, *askers: Address) -> None:
        """Let a member keep a blob from some, or from all."""
        self.link(owner).withheld[content] = frozenset(askers)

    def falsify(self, owner: Address, content: Content, data: bytes) -> None:
        """Let a member give other bytes under a blob's name."""
        self.link(owner).wrong[content] = data

    def lose(self, content: Content) -> None:
        """Drop a blob wherever it is."""
        for link in self.links.values():
            if isinstance(link.blobs, MemoryBlobs) and link.blobs.has(content):
                link.blobs.forget(content)

    async def bring(self, asker: Address, content: Content) -> None:
        """Fetch a blob to a member, asking the others one by one; raises Unavailable with what each answered."""
        own, answers = self.links[asker], []
        if not own.is_up:
            raise Unavailable(f"{asker} is cut off: {content} cannot be fetched", content)
        for owner, link in list(self.links.items()):
            if owner == asker or not self._are_connected(asker, owner):
                continue
            if latency_s := own.latency_s + link.latency_s:
                await self._clock.sleep(latency_s)
            data = link.serve(asker, content)
            if data is None or not self._are_connected(asker, owner):
                answers.append(f"{owner} does not give it")
            elif _written(HashingWriter(), data) != content:
                answers.append(f"{owner} gives other bytes")
            else:
                _written(own.blobs.create(), data)
                return
        told = "; ".join(answers) or "there is none to ask"
        raise Unavailable(f"no peer has {content}: {told}", content)

    def _are_connected(self, *members: Address) -> bool:
        return all(self.links[member].is_up for member in members)


class NetworkStore:
    """One member's blobs and, through the network, those of the others; a `Store` (core/ports.py)."""

    def __init__(self, network: Network, member: Address) -> None:
        self._network = network
        self._member = member
        self.asked: list[Content] = []
        """Everything that was to be fetched, also what was here already."""

    @property
    def local(self) -> Blobs:
        """The member's own blobs."""
        return self._network.links[self._member].blobs

    async def fetch(self, content: Content) -> BlobReader:
        """Bring a blob here, checked, and open it; raises Unavailable when no peer gives it."""
        self.asked.append(content)
        if not self.local.has(content):
            await self._network.bring(self._member, content)
        return self.local.open(content)


class AllBlobs:
    """The blobs of all members as if they lay on one machine, for those who script and judge a federation."""

    def __init__(self, network: Network, owner: Address) -> None:
        """Look at a network; new blobs become the owner's."""
        self._network = network
        self._owner = owner

    def has(self, content: Content) -> bool:
        """Tell whether anybody has the blob."""
        return any(link.blobs.has(content) for link in self._network.links.values())

    def open(self, content: Content) -> BlobReader:
        """Open a blob; raises Unavailable when nobody has it."""
        for link in self._network.links.values():
            if link.blobs.has(content):
                return link.blobs.open(content)
        raise Unavailable(f"no member has {content}", content)

    def create(self) -> BlobWriter:
        """Start a new blob of the owner's."""
        return self._network.link(self._owner).blobs.create()

    def check(self, content: Content) -> None:
        """Hash every copy of a blob; raises Corrupt, and Unavailable when nobody has it."""
        copies = [link.blobs for link in self._network.links.values() if link.blobs.has(content)]
        if not copies:
            raise Unavailable(f"no member has {content}", content)
        for blobs in copies:
            blobs.check(content)


def _written(writer: BlobWriter, data: bytes) -> Content:
    writer.write(data)
    return writer.commit()
