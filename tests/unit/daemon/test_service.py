from __future__ import annotations

from unit.daemon.steady import Steady

from fedchain.daemon.service import Pace


def test_each_loop_has_a_backoff_of_its_own() -> None:
    pace = Pace(retry_s=2.0, retry_cap_s=3.0, random=lambda: 1.0)
    one, other = pace.backoff(), pace.backoff()
    assert [one.failed(), one.failed(), other.failed()] == [2.0, 3.0, 2.0]


async def test_status_says_what_it_does_and_why_it_is_not_ready() -> None:
    service = Steady()
    assert (service.status()["doing"], service.status()["not_ready"]) == ("starting", None)
    service.activity.doing = "waiting"
    service.blocked = "the chain is down"
    assert (service.status()["doing"], service.status()["not_ready"]) == ("waiting", "the chain is down")
