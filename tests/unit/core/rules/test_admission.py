"""The rules one by one, in their order, and their bounds to the last bit."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core.rules.admission import judge_content, judge_records
from fedchain.core.rules.judged import Decision, Inspection
from fedchain.core.rules.policy import AdmissionRules

RULES = AdmissionRules(max_staleness=3, updates_per_site=5)
GOOD: dict[str, Any] = {"is_trainer": True, "staleness": 3, "in_buffer": 1, "ever": 4, "is_duplicate": False}
BAD: list[tuple[Decision, dict[str, Any]]] = [
    (Decision.NOT_TRAINER, {"is_trainer": False}),
    (Decision.UNKNOWN_BASE, {"staleness": None}),
    (Decision.TOO_STALE, {"staleness": 4}),
    (Decision.OVER_QUOTA, {"in_buffer": 2}),
    (Decision.PRIVACY_BUDGET, {"ever": 5}),
    (Decision.DUPLICATE, {"is_duplicate": True}),
]


def test_what_keeps_every_rule_of_the_records_is_left_to_the_content() -> None:
    assert judge_records(RULES, 2, **GOOD) is None


@pytest.mark.parametrize(("decision", "change"), BAD, ids=[decision for decision, _ in BAD])
def test_each_rule_has_its_reason(decision: Decision, change: dict[str, Any]) -> None:
    assert judge_records(RULES, 2, **(GOOD | change)) is decision


@given(st.sets(st.integers(0, len(BAD) - 1), min_size=1))
def test_the_first_rule_that_fails_decides(broken: set[int]) -> None:
    changes = {key: value for index in sorted(broken, reverse=True) for key, value in BAD[index][1].items()}
    assert judge_records(RULES, 2, **(GOOD | changes)) is BAD[min(broken)][0]


def test_no_budget_is_no_bound() -> None:
    rules = AdmissionRules(max_staleness=3)
    assert judge_records(rules, 2, **(GOOD | {"ever": 10**9})) is None


def test_content_that_fails_needs_no_numbers() -> None:
    rules = AdmissionRules(max_staleness=0, max_change=1.0, max_norm=1.0)
    for failure in (Decision.UNAVAILABLE, Decision.MALFORMED):
        assert judge_content(Inspection(failure), rules) is failure


def test_without_bounds_every_update_is_merged() -> None:
    rules = AdmissionRules(max_staleness=0)
    assert judge_content(Inspection(None, max_abs=2**60, norm2=2**120), rules) is Decision.MERGED


@pytest.mark.parametrize("bound", [1.0, 0.1, 1e-9, 127.99999, 3.0000000000000004, 5e-324])
def test_a_change_is_in_range_up_to_the_bound_itself(bound: float) -> None:
    rules = AdmissionRules(max_staleness=0, max_change=bound)
    largest = math.floor(Fraction(bound) * 2**30)  # in units of 2^-30
    assert judge_content(Inspection(None, max_abs=largest), rules) is Decision.MERGED
    assert judge_content(Inspection(None, max_abs=largest + 1), rules) is Decision.OUT_OF_RANGE


@pytest.mark.parametrize("bound", [1.0, 0.1, 1e-9, 1234.5, 3.0000000000000004])
def test_a_norm_is_in_bound_up_to_the_bound_itself(bound: float) -> None:
    rules = AdmissionRules(max_staleness=0, max_norm=bound)
    largest = math.floor(Fraction(bound) ** 2 * 2**60)  # squared, in units of 2^-60
    assert judge_content(Inspection(None, max_abs=0, norm2=largest), rules) is Decision.MERGED
    assert judge_content(Inspection(None, max_abs=0, norm2=largest + 1), rules) is Decision.NORM_BOUND


def test_range_is_judged_before_norm() -> None:
    rules = AdmissionRules(max_staleness=0, max_change=1.0, max_norm=1.0)
    assert judge_content(Inspection(None, max_abs=2**31, norm2=2**62), rules) is Decision.OUT_OF_RANGE


def test_what_is_not_known_is_not_within_a_bound() -> None:
    rules = AdmissionRules(max_staleness=0, max_norm=1.0)
    assert judge_content(Inspection(None, max_abs=0), rules) is Decision.NORM_BOUND


def test_reason_codes_never_change() -> None:
    assert [str(decision) for decision in Decision] == [
        "merged", "not_trainer", "unknown_base", "too_stale", "over_quota", "privacy_budget", "duplicate",
        "unavailable", "malformed", "out_of_range", "norm_bound",
    ]  # fmt: skip
