"""Blobs on disk: one flat file per blob, named by its CID, and its tree in a small file beside it.

    bafkrei…        a blob of one chunk (up to 1 MiB)
    bafybei…        a longer blob; its leaves are slices of it
    bafybei….car    its inner nodes, depth first, as a CAR file; the leaves' digests are the links in them
    .partial-…      a fetch that was cut off, or is under way
    .writing-…      a blob that is being written

A blob becomes visible by a rename, after its tree: where the blob is, the tree is.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import IO, Final

from fedchain.core.errors import ContentError, Corrupt, FormatError
from fedchain.core.ledger.content import CHUNK_SIZE, Cid, Content, Digest, cid_text, content_of
from fedchain.store import car, disk
from fedchain.store.disk import FileReader, NewFile
from fedchain.store.unixfs import Block, Tree, TreeBuilder, check_leaves, children, root

_TREE: Final = ".car"


class FileBlobs:
    """The blobs in one folder; several threads and processes may share it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        """Where the files are."""
        self._places: dict[Digest, tuple[Content, Block]] = {}
        with disk.failing(folder, "create"):
            folder.mkdir(parents=True, exist_ok=True)
        disk.clean(folder)
        for path in folder.glob(f"*{_TREE}"):
            self._learn(Cid(path.name.removesuffix(_TREE)))

    def path(self, content: Content) -> Path:
        """Say where a blob is, or would be."""
        return self.folder / content.cid

    def has(self, content: Content) -> bool:
        """Tell whether the blob is here, whole."""
        try:
            return self.path(content).stat().st_size == content.size
        except FileNotFoundError:
            return False

    def open(self, content: Content) -> FileReader:
        """Open a blob; raises Unavailable when it is not here, Corrupt when it has another length."""
        path = self.path(content)
        with disk.failing(path, "open"):
            buffer = FileReader(path)
        if buffer.size != content.size:
            raise Corrupt(
                f"{path} has {buffer.size} bytes, not {content.size}: it is damaged, or the size is wrong", content
            )
        return buffer

    def create(self) -> FileWriter:
        """Start a new blob."""
        return FileWriter(self, NewFile(self.folder))

    def resume(self, content: Content) -> FileDownload:
        """Start a fetch, or go on with one that was cut off."""
        return FileDownload(self, NewFile(self.folder, kept=content.cid), content.size)

    def check(self, content: Content) -> None:
        """Re-hash every byte of a blob and its tree; raises Corrupt naming the first wrong block, Unavailable."""
        with self.open(content) as blob:
            check_leaves(self.tree(content), blob, str(self.path(content)))

    def tree(self, content: Content) -> Tree:
        """Read a blob's tree, checked against its CID; raises Corrupt, Unavailable."""
        if root(content).height == 0:
            return Tree(content, (), (content.digest,))
        path = self.folder / (content.cid + _TREE)
        with disk.failing(path, "read"), path.open("rb") as file:
            try:
                return _read_tree(content, file)
            except (FormatError, Corrupt) as error:
                raise Corrupt(f"{path}, the tree of {content}: {error}; fetch the blob again", content) from error

    def find(self, codec: int, digest: Digest) -> tuple[Content, Block] | None:
        """Find a block, be it a root, an inner node or a leaf: the blob it is in, and where; None when not here."""
        place = self._places.get(digest)
        if place is None or place[1].codec != codec:
            place = self._learn(cid_text(codec, digest))
        return place

    def publish(self, file: NewFile, tree: Tree) -> None:
        """Make a written file visible as the blob that its tree says."""
        cid = tree.content.cid
        if tree.nodes:
            parts = [car.header(root(tree.content).codec, tree.content.digest)]
            for block, data in tree.nodes:
                parts += [car.prefix(block.codec, block.digest, block.length), data]
            beside = NewFile(self.folder)
            beside.publish(cid + _TREE, beside.write(0, parts))
        file.publish(cid, tree.content.size)
        self._place(tree)

    def _learn(self, cid: Cid) -> tuple[Content, Block] | None:
        """Take in a blob by its file's name; None where there is none, or none that could be served."""
        with suppress(FormatError, ContentError, FileNotFoundError):
            content = content_of(cid, (self.folder / cid).stat().st_size)
            self._place(self.tree(content))
            return content, root(content)
        return None

    def _place(self, tree: Tree) -> None:
        for block in tree.blocks():
            self._places[block.digest] = (tree.content, block)


class FileWriter:
    """A blob being written to a folder."""

    def __init__(self, blobs: FileBlobs, file: NewFile) -> None:
        self._blobs = blobs
        self._file = file
        self._builder = TreeBuilder()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes; raises ContentError when the disk does not take them."""
        flat = memoryview(data).cast("B")
        self._file.write(self._builder.size, [flat])
        self._builder.add(flat)

    def commit(self) -> Content:
        """Bring the blob to the disk, make it visible, and return its name."""
        tree = self._builder.tree()
        self._blobs.publish(self._file, tree)
        return tree.content

    def abort(self) -> None:
        """Throw away what was written; harmless after `commit`."""
        self._file.drop()


class FileDownload:
    """A blob on its way into a folder."""

    def __init__(self, blobs: FileBlobs, file: NewFile, size: int) -> None:
        self._blobs = blobs
        self._file = file
        self._size = size

    def held(self) -> list[Digest]:
        """Hash what an earlier fetch left: sha2-256 of each chunk, from the first on."""
        with disk.failing(self._file.path, "read"), FileReader(self._file.path) as old:
            end = min(old.size, self._size)
            return [
                Digest(sha256(old.read(at, min(CHUNK_SIZE, end - at))).digest()) for at in range(0, end, CHUNK_SIZE)
            ]

    def put(self, offset: int, parts: Sequence[bytes | memoryview]) -> None:
        """Write a block that was checked, in parts; raises ContentError when the disk does not take it."""
        self._file.write(offset, parts)

    def commit(self, tree: Tree) -> None:
        """Bring the blob to the disk and make it visible."""
        self._blobs.publish(self._file, tree)

    def suspend(self) -> None:
        """Stop here, so that a later `resume` goes on from what came; harmless after `commit`."""
        self._file.suspend()


def _read_tree(content: Content, file: IO[bytes]) -> Tree:
    """Read the inner nodes of a blob's tree, in the order in which they are needed to find each other."""
    codec, digest, sections = car.read(file.read)
    nodes: list[tuple[Block, bytes]] = []
    leaves: list[Digest] = []
    waiting = [root(content)]
    if (codec, digest) != (waiting[0].codec, content.digest):
        raise FormatError(f"its root is {cid_text(codec, digest)}")
    while waiting:
        block = waiting.pop()
        if block.height == 0:
            leaves.append(block.digest)
            continue
        section = next(sections, None)
        if section is None or section.digest != block.digest:
            raise FormatError(f"node {block.cid} is missing")
        nodes.append((block, section.data))
        waiting += reversed(children(block, section.data))
    if next(sections, None) is not None:
        raise FormatError("more nodes follow than the tree has")
    return Tree(content, tuple(nodes), tuple(leaves))
