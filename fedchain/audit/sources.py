"""Where an audit finds blobs: folders of daemons, which it only reads, and any other blobs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from fedchain.core.errors import Corrupt, FormatError, ParameterError, Unavailable
from fedchain.core.ledger.content import Content, Digest
from fedchain.core.ports import BlobReader, Blobs
from fedchain.store import car
from fedchain.store.disk import FileReader, failing
from fedchain.store.unixfs import Block, Tree, children, root


class Source(Protocol):
    """A place where blobs may lie. Nothing that it hands out is trusted."""

    @property
    def name(self) -> str:
        """The place, for messages."""

    def where(self, content: Content) -> str:
        """Say where a blob lies, for messages."""

    def open(self, content: Content) -> BlobReader | None:
        """Open what lies under a CID, whatever its bytes are; None where nothing does."""

    def leaves(self, content: Content) -> Sequence[Digest] | None:
        """Return the digests of a blob's chunks, proven by its CID; None where no tree says them."""

    def tree_fault(self, tree: Tree) -> tuple[int, str] | None:
        """Compare the stored tree with the right one: where it first differs, and in which file."""


class Folder:
    """A daemon's blob folder (fedchain/store/files.py), read without writing into it."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise ParameterError("blobs", folder, "no such folder; name a daemon's blob folder")
        self._folder = folder

    @property
    def name(self) -> str:
        """The folder."""
        return str(self._folder)

    def where(self, content: Content) -> str:
        """Say where a blob lies, for messages."""
        return str(self._folder / content.cid)

    def open(self, content: Content) -> BlobReader | None:
        """Open the file of a CID, whatever its bytes are; None where there is none."""
        path = self._folder / content.cid
        try:
            with failing(path, "open"):
                return FileReader(path)
        except Unavailable:
            return None

    def leaves(self, content: Content) -> Sequence[Digest] | None:
        """Read the tree beside a blob: inner nodes that hash to each other, from the CID down."""
        path, nodes = self._tree(content), {}
        try:
            with failing(path, "read"), path.open("rb") as file:
                _, _, sections = car.read(file.read)
                for section in sections:
                    nodes[section.digest] = section.data
        except Unavailable:
            return None
        except (FormatError, Corrupt):
            pass  # what stands before the damage may be enough
        try:
            return list(_chunks(root(content), nodes))
        except (KeyError, FormatError):
            return None

    def tree_fault(self, tree: Tree) -> tuple[int, str] | None:
        """Compare the file beside a blob with what the store writes there: first differing byte, and the file."""
        path = self._tree(tree.content)
        if not tree.nodes or not path.exists():
            return None
        parts = [car.header(root(tree.content).codec, tree.content.digest)]
        for block, data in tree.nodes:
            parts += [car.prefix(block.codec, block.digest, len(data)), data]
        with failing(path, "read"):
            offset = first_difference(path.read_bytes(), b"".join(parts))
        return None if offset is None else (offset, str(path))

    def _tree(self, content: Content) -> Path:
        return self._folder / f"{content.cid}.car"


class LocalSource:
    """Any other blobs on this machine."""

    def __init__(self, name: str, blobs: Blobs) -> None:
        self._name = name
        self._blobs = blobs

    @property
    def name(self) -> str:
        """What the blobs are called."""
        return self._name

    def where(self, content: Content) -> str:
        """Say where a blob lies, for messages."""
        return f"{self._name}/{content.cid}"

    def open(self, content: Content) -> BlobReader | None:
        """Open a blob; None where it is not here."""
        try:
            return self._blobs.open(content)
        except Unavailable:
            return None

    def leaves(self, content: Content) -> Sequence[Digest] | None:
        """Return None: the port hands out no trees."""
        del content
        return None

    def tree_fault(self, tree: Tree) -> tuple[int, str] | None:
        """Return None: the port hands out no trees."""
        del tree
        return None


def first_difference(ours: bytes, theirs: bytes) -> int | None:
    """Return where two byte strings first differ, be it in length; None where they are equal."""
    if ours == theirs:
        return None
    same = min(len(ours), len(theirs))
    return next((at for at in range(same) if ours[at] != theirs[at]), same)


def _chunks(block: Block, nodes: dict[Digest, bytes]) -> list[Digest]:
    if block.height == 0:
        return [block.digest]
    return [digest for below in children(block, nodes[block.digest]) for digest in _chunks(below, nodes)]
