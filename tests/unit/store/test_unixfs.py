from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core.errors import FormatError
from fedchain.core.ledger.content import CHUNK_SIZE, Content, Digest, parse_cid
from fedchain.store.unixfs import LINKS, Block, Tree, TreeBuilder, build_tree, children, chunks, root

ROOT = Path(__file__).parents[3]
VECTORS = ROOT / "tests" / "vectors"
GOLDEN = json.loads((VECTORS / "unixfs.json").read_text())
PERIOD = 251
PATTERN = memoryview(bytes(i % PERIOD for i in range(CHUNK_SIZE + PERIOD)))


def parts(size: int) -> Iterator[memoryview]:
    """The test file of a size: byte i is i % 251."""
    for start in range(0, size, CHUNK_SIZE):
        yield PATTERN[start % PERIOD :][: min(CHUNK_SIZE, size - start)]


def grow(size: int) -> Tree:
    growing = TreeBuilder()
    for part in parts(size):
        growing.add(part)
    return growing.tree()


def digest_of(number: int) -> Digest:
    return Digest(sha256(number.to_bytes(8, "big")).digest())


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: str(golden["size"]))
def test_a_tree_is_the_one_that_the_reference_importer_makes(golden: dict) -> None:
    tree = grow(golden["size"])
    assert tree.content.cid == golden["cid"]
    assert sorted(block.cid for block, _ in tree.nodes) == sorted(golden["nodes"])
    assert all(sha256(data).digest() == block.digest for block, data in tree.nodes)


def test_the_golden_vectors_are_what_the_reference_importer_makes_today() -> None:
    modules = ROOT / "contracts" / "node_modules" / "ipfs-unixfs-importer"
    node = shutil.which("node") if modules.is_dir() else None
    assert node, f"needs node and {modules}: run scripts/setup"
    command = [node, str(VECTORS / "unixfs.mjs"), str(ROOT / "contracts")]
    made = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert json.loads(made.stdout) == GOLDEN


def test_the_root_of_two_chunks_is_written_as_the_specification_says() -> None:
    tree = build_tree([digest_of(0), digest_of(1)], CHUNK_SIZE + 1)
    first = bytes.fromhex("122c0a2401551220") + digest_of(0) + bytes.fromhex("120018808040")
    second = bytes.fromhex("122a0a2401551220") + digest_of(1) + bytes.fromhex("12001801")
    unixfs = bytes.fromhex("0a0c080218818040208080402001")
    assert tree.nodes[0][1] == first + second + unixfs


@given(st.lists(st.binary(max_size=3000), max_size=8), st.integers(0, 3 * CHUNK_SIZE))
def test_a_tree_does_not_depend_on_how_the_bytes_came(pieces: list[bytes], cut: int) -> None:
    whole = b"".join(pieces) + bytes(PATTERN) * 2
    at_once, in_two = TreeBuilder(), TreeBuilder()
    at_once.add(memoryview(whole))
    in_two.add(memoryview(whole)[:cut])
    in_two.add(memoryview(whole)[cut:])
    assert at_once.tree() == in_two.tree()


sizes = st.one_of(
    st.integers(0, 4 * CHUNK_SIZE),
    st.integers(0, 3 * LINKS * CHUNK_SIZE),
    st.builds(lambda n, d: max(0, n * CHUNK_SIZE + d), st.sampled_from([1, 2, LINKS, 2 * LINKS]), st.integers(-1, 1)),
)


@given(sizes)
def test_the_tree_can_be_walked_from_its_root_alone(size: int) -> None:
    tree = build_tree([digest_of(index) for index in range(chunks(size))], size)
    held = {block.digest: data for block, data in tree.nodes}
    waiting, seen = [root(tree.content)], []
    while waiting:
        block = waiting.pop()
        seen.append(block)
        if block.height:
            assert len(held[block.digest]) == block.length
            waiting += reversed(children(block, held[block.digest]))
    assert seen == tree.blocks()
    leaves = [block for block in seen if block.height == 0]
    assert tuple(block.digest for block in leaves) == tree.leaves
    assert sum(block.length for block in leaves) == size


@given(st.integers(CHUNK_SIZE + 1, 6 * CHUNK_SIZE), st.data())
def test_a_node_that_differs_in_a_byte_outside_the_digests_is_refused(size: int, data: st.DataObject) -> None:
    tree = build_tree([digest_of(index) for index in range(chunks(size))], size)
    block, node = tree.nodes[0]
    at = data.draw(st.integers(0, len(node) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda value: value != node[at]))
    changed = node[:at] + bytes((value,)) + node[at + 1 :]
    try:
        digests = [child.digest for child in children(block, changed)]
    except FormatError:
        return
    assert build_tree(digests, size).nodes[0][1] == changed  # the byte was one of a digest


@pytest.mark.parametrize("change", [lambda node: node[:-1], lambda node: node + b"\0", lambda _: b""])
def test_a_node_of_another_length_is_refused(change) -> None:
    block, node = build_tree([digest_of(0), digest_of(1)], 2 * CHUNK_SIZE).nodes[0]
    with pytest.raises(FormatError, match=f"{block.cid} is not the unixfs-v1-2025 node over 2097152 bytes"):
        children(block, change(node))


def test_a_wrong_size_beside_the_right_cid_is_refused() -> None:
    tree = grow(CHUNK_SIZE + 5)
    lie = root(Content(tree.content.digest, CHUNK_SIZE + 6))
    with pytest.raises(FormatError, match="the size that was given with the CID is wrong"):
        children(lie, tree.nodes[0][1])


def test_a_block_covers_itself_and_what_lies_under_it() -> None:
    blocks = build_tree([digest_of(index) for index in range(LINKS + 2)], (LINKS + 1) * CHUNK_SIZE + 1).blocks()
    top, left, first, *_, right, before_last, last = blocks
    assert (top.height, left.height, right.height) == (2, 1, 1)
    assert all(top.covers(block) for block in blocks)
    assert [left.covers(block) for block in (top, left, first, right, last)] == [False, True, True, False, False]
    assert [right.covers(block) for block in (left, right, before_last, last)] == [False, True, True, True]
    empty = root(Content(digest_of(0), 0))
    assert empty.covers(empty)


def test_heights_grow_with_the_number_of_chunks() -> None:
    def height(leaves: int) -> int:
        return root(Content(digest_of(0), leaves * CHUNK_SIZE)).height

    assert [height(n) for n in (0, 1, 2, LINKS, LINKS + 1, LINKS**2, LINKS**2 + 1)] == [0, 0, 1, 1, 2, 2, 3]


def test_a_block_names_itself() -> None:
    leaf = Block(digest_of(1), 0, 0, 5)
    node = Block(digest_of(1), 1, 0, CHUNK_SIZE + 1)
    assert parse_cid(leaf.cid) == (0x55, leaf.digest)
    assert parse_cid(node.cid) == (0x70, node.digest)
