from __future__ import annotations

import pytest

from fedchain.core.ledger.records import address
from fedchain.ledger.fees import Fees
from fedchain.ledger.outbox import Attempt, Intent, Outbox

OWNER = address("11" * 20)


def intent(key):
    return Intent(key, key.encode(), 21_000)


def attempt(name, nonce):
    return Attempt(f"0x{name}", nonce, Fees(1, 10), name.encode())


@pytest.fixture
def outbox(tmp_path):
    """Open the outbox as the next process would."""
    opened = []

    def open_anew():
        while opened:
            opened.pop().close()
        opened.append(Outbox(tmp_path / "outbox.sqlite", 1, OWNER))
        return opened[0]

    yield open_anew
    opened.pop().close()


def test_what_is_stored_is_there_for_the_next_process(outbox):
    one = outbox()
    one.store(intent("a"), attempt("a1", 4))
    one.store(intent("a"), attempt("a2", 4))
    one.store(intent("b"), attempt("b1", 5))
    again = outbox()
    assert again.intent("a") == intent("a")
    assert again.intent("c") is None
    assert again.attempts("a") == [attempt("a1", 4), attempt("a2", 4)]
    assert again.newest(4) == [attempt("a2", 4), attempt("b1", 5)]
    assert again.newest(5) == [attempt("b1", 5)]
    assert again.next_nonce() == 6
    assert again.unfinished() == [intent("a"), intent("b")]


def test_what_is_finished_is_not_gone_on_with_but_remembered(outbox):
    one = outbox()
    one.store(intent("a"), attempt("a1", 0))
    one.store(intent("b"), attempt("b1", 1))
    one.finish("a")
    again = outbox()
    assert again.unfinished() == [intent("b")]
    assert again.intent("a") == intent("a")


def test_what_is_forgotten_leaves_key_and_nonce_free(outbox):
    one = outbox()
    one.store(intent("a"), attempt("a1", 0))
    one.store(intent("b"), attempt("b1", 1))
    one.forget("b")
    again = outbox()
    assert (again.intent("b"), again.attempts("b"), again.next_nonce()) == (None, [], 1)


def test_raised_fees_are_at_least_an_eighth_above():
    assert Fees(1, 1).above(Fees(8, 80)) == Fees(10, 91)
    assert Fees(50, 500).above(Fees(8, 80)) == Fees(50, 500)
    assert Fees(0, 0).above(Fees(0, 0)) == Fees(1, 1)
