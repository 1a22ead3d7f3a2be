"""What a job may be put with: a key, a delay, a priority; and that none of them lets another starve."""

from collections.abc import Callable
from typing import Any

import pytest
from histories import Told

from dsjq_lab.checkers import deduplicated
from dsjq_lab.verdict import HOLDS, NOT_APPLICABLE, VIOLATED

# deduplicated


@pytest.mark.parametrize(
    ("id", "outcome", "expected"),
    [("7", "ok", HOLDS), ("8", "ok", VIOLATED), ("8", "info", HOLDS), ("8", "fail", HOLDS)],
)
def test_one_key_one_id(id: str, outcome: str, expected: str) -> None:
    told = Told()
    told.submit("a", id="7", key="k")
    told.submit("a", id=id, key="k", outcome=outcome, error="timeout")
    verdict = told.verdict("deduplicated")
    assert verdict.status == expected
    if expected == VIOLATED:
        assert (verdict.summary, verdict.ops) == ("key k made two jobs: 7 and 8", (0, 1, 2, 3))


@pytest.mark.parametrize(("id", "expected"), [("7", HOLDS), ("8", VIOLATED)])
def test_a_worker_may_be_the_one_who_sees_the_second_job(id: str, expected: str) -> None:
    told = Told()
    told.submit("a", id="?", key="k", outcome="info", error="eof")
    told.submit("a", id="7", key="k")
    told.reserve("worker 1", "a", id=id)
    assert told.verdict("deduplicated").status == expected


def test_who_submits_without_the_key_makes_another_job() -> None:
    told = Told()
    told.submit("a", id="7", key="k")
    told.submit("a", id="8")
    told.reserve("worker 1", "a", id="8")
    assert told.verdict("deduplicated").status == HOLDS


@pytest.mark.parametrize(("durable", "expected"), [(True, VIOLATED), (False, HOLDS)])
def test_a_key_is_as_durable_as_its_job(durable: bool, expected: str) -> None:
    told = Told(durable=durable)
    told.submit("a", id="7", key="k")
    told.fault("kill", "broker", "begin", "struck")
    told.broker_ready()
    told.submit("a", id="8", key="k")
    assert told.verdict("deduplicated").status == expected


@pytest.mark.parametrize(("payload", "expected"), [("a", VIOLATED), ("a b", HOLDS)])
def test_a_conflict_needs_another_payload(payload: str, expected: str) -> None:
    told = Told()
    told.submit(payload, id="7", key="k")
    told.submit("a", key="k", outcome="fail", error="ERROR KEY_CONFLICT 'k' is job 7, with another payload")
    assert told.verdict("deduplicated").status == expected


def test_a_key_is_forgotten_with_its_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deduplicated, "REMEMBERED", 2)
    for finished, expected in ((1, VIOLATED), (2, HOLDS)):
        told = Told()
        told.submit("a", id="7", key="k")
        for number in range(finished):
            told.submit(f"j{number}")
            told.reserve("worker 1", f"j{number}")
            told.ack("worker 1", f"j{number}")
        told.submit("a", id="8", key="k")
        assert told.verdict("deduplicated").status == expected


def test_without_keys_there_is_nothing_to_tell() -> None:
    told = Told()
    told.submit("a")
    assert told.verdict("deduplicated").status == NOT_APPLICABLE


def test_one_job_that_was_submitted_twice_with_its_key_is_counted_once() -> None:
    for submitted, expected in ((1, HOLDS), (2, VIOLATED)):
        told = Told()
        told.submit("a", id="7", key="k", outcome="info", error="timeout")
        told.submit("a", id="7", key="k")
        told.stats(submitted=submitted, pending=submitted)
        told.end()
        assert told.verdict("counts_conserved").status == expected


# not_early: submitted from 10 to 20, with a delay of 100 ms


@pytest.mark.parametrize(("read_ms", "expected"), [(109, VIOLATED), (110, HOLDS), (500, HOLDS)])
def test_a_delay(read_ms: int, expected: str) -> None:
    told = Told()
    told.submit("a", delay_s=0.1, at=(10, 20))
    told.reserve("worker 1", "a", at=(50, read_ms))
    verdict = told.verdict("not_early")
    assert verdict.status == expected
    if expected == VIOLATED:
        assert verdict.summary == "job a delivered after 0.099 s, and its delay was 0.1 s"


def test_an_earlier_try_may_have_counted_and_a_refused_one_has_not() -> None:
    for outcome, expected in (("info", HOLDS), ("fail", VIOLATED)):
        told = Told()
        told.submit("a", delay_s=0.1, outcome=outcome, error="ERROR STORAGE", at=(10, 20))
        told.submit("a", delay_s=0.1, at=(50, 51))
        told.reserve("worker 1", "a", at=(110, 112))
        assert told.verdict("not_early").status == expected


def test_no_delay_no_promise() -> None:
    told = Told()
    told.submit("a")
    told.reserve("worker 1", "a")
    assert told.verdict("not_early").status == NOT_APPLICABLE


# no_starvation: a waits while so many urgent jobs are submitted and delivered


class Line(Told):
    """One worker with tokens."""

    def __init__(self, **promises: Any) -> None:
        super().__init__(ack_timeout_ms=100_000, **promises)
        self.deliveries = 0

    def deliver(self, job: str) -> None:
        self.deliveries += 1
        self.reserve("worker 1", job, token=f"1.{self.deliveries}", attempt=1)

    def urgent(self, count: int) -> None:
        for number in range(count):
            self.submit(name := f"u{self.now_ms}-{number}", priority=-1)
            self.deliver(name)


@pytest.mark.parametrize(("count", "expected"), [(9, HOLDS), (10, VIOLATED)])
def test_the_oldest_job_is_passed_over_nine_times(count: int, expected: str) -> None:
    told = Line()
    told.submit("a")
    told.urgent(count)
    told.deliver("a")
    verdict = told.verdict("no_starvation")
    assert verdict.status == expected
    if expected == VIOLATED:
        assert verdict.summary == "job a waited while 10 others were delivered, at most 0 of them older"


@pytest.mark.parametrize(("count", "expected"), [(18, HOLDS), (19, VIOLATED)])
def test_older_jobs_have_their_turn_first(count: int, expected: str) -> None:
    told = Line()
    told.submit("older")
    told.submit("a")
    told.urgent(5)
    told.deliver("older")
    told.urgent(count - 5)
    told.deliver("a")
    assert told.verdict("no_starvation").status == expected


def lost_reply(told: Line) -> None:
    told.submit("a")
    told.reserve("worker 2", "?", outcome="info", error="eof")


def confirmed_late(told: Line) -> None:
    told.submit("a", at=(0, 500))
    told.now_ms = 1


def delayed(told: Line) -> None:
    told.submit("a", delay_s=100)


def given_out_before(told: Line) -> None:
    told.submit("a")
    told.reserve("worker 2", "a", token="0.1", attempt=1)


@pytest.mark.parametrize("happen", [lost_reply, confirmed_late, delayed, given_out_before])
def test_a_wait_that_can_be_explained(happen: Callable[[Line], None]) -> None:
    told = Line()
    happen(told)
    told.urgent(10)
    told.now_ms = 501
    told.deliver("a")
    assert told.verdict("no_starvation").status == HOLDS


def test_each_life_of_the_broker_counts_for_itself() -> None:
    told = Line(durable=True)
    told.submit("a")
    told.urgent(6)
    told.fault("kill", "broker", "begin", "struck")
    told.broker_ready()
    told.fault("kill", "broker", "end")
    told.reconnect("worker 1")
    told.urgent(6)
    told.deliver("a")
    assert told.verdict("no_starvation").status == HOLDS


def test_a_black_box_has_no_priorities() -> None:
    told = Told()
    told.submit("a")
    assert told.verdict("no_starvation").status == NOT_APPLICABLE


# urgent_first: u waits while usual jobs are delivered; one in ten deliveries may be the oldest's turn


@pytest.mark.parametrize(("usual", "expected"), [(1, HOLDS), (2, VIOLATED), (11, VIOLATED)])
def test_an_urgent_job_is_overtaken_only_by_the_oldest_in_its_turn(usual: int, expected: str) -> None:
    told = Line()
    told.submit("u", priority=-1)
    for number in range(usual):
        told.submit(f"j{number}")
        told.deliver(f"j{number}")
    told.deliver("u")
    verdict = told.verdict("urgent_first")
    assert verdict.status == expected
    if expected == VIOLATED:
        assert verdict.summary == f"job u (priority -1) waited while {usual} less urgent ones were delivered"


@pytest.mark.parametrize(("urgent", "expected"), [(9, HOLDS), (6, VIOLATED)])
def test_a_long_wait_has_more_turns_of_the_oldest(urgent: int, expected: str) -> None:
    """Two of eleven deliveries may be, of eight only one."""
    told = Line()
    told.submit("u", priority=-1)
    told.submit("j")
    told.deliver("j")
    told.urgent(urgent)
    told.submit("k")
    told.deliver("k")
    told.deliver("u")
    assert told.verdict("urgent_first").status == expected


def urgent_confirmed_late(told: Line) -> None:
    told.submit("u", priority=-1, at=(0, 500))
    told.now_ms = 1


def urgent_delayed(told: Line) -> None:
    told.submit("u", priority=-1, delay_s=100)


def urgent_given_out_before(told: Line) -> None:
    told.submit("u", priority=-1)
    told.reserve("worker 2", "u", token="0.1", attempt=1)


def ten_replies_lost(told: Line) -> None:
    told.submit("u", priority=-1)
    for _ in range(10):
        told.reserve("worker 2", "?", outcome="info", error="eof")


@pytest.mark.parametrize(
    "happen", [urgent_confirmed_late, urgent_delayed, urgent_given_out_before, ten_replies_lost]
)
def test_an_overtaking_that_can_be_explained(happen: Callable[[Line], None]) -> None:
    told = Line()
    happen(told)
    for number in range(2):
        told.submit(f"j{number}")
        told.deliver(f"j{number}")
    told.now_ms = 501
    told.deliver("u")
    assert told.verdict("urgent_first").status == HOLDS


def test_where_all_are_equally_urgent_nobody_is_first() -> None:
    told = Line()
    told.submit("a")
    told.deliver("a")
    assert told.verdict("urgent_first").status == NOT_APPLICABLE
    assert Told().verdict("urgent_first").status == NOT_APPLICABLE


# fifo and requeue_keeps_position


@pytest.mark.parametrize(
    ("terms", "expected"),
    [({}, VIOLATED), ({"priority": 1}, HOLDS), ({"delay_s": 0.001}, HOLDS)],
    ids=["as the other", "less urgent", "delayed"],
)
def test_who_came_first_among_those_of_one_priority(terms: dict[str, Any], expected: str) -> None:
    told = Line()
    told.submit("a", **terms)
    told.submit("b")
    told.deliver("b")
    told.deliver("a")
    assert told.verdict("fifo").status == expected


@pytest.mark.parametrize(
    ("terms", "expected"),
    [({}, VIOLATED), ({"priority": -1}, HOLDS), ({"delay_s": 0.001}, HOLDS)],
    ids=["as the other", "more urgent", "delayed"],
)
def test_who_came_back_goes_before_the_younger_of_its_priority(terms: dict[str, Any], expected: str) -> None:
    told = Line()
    told.submit("a")
    told.deliver("a")
    told.fail("worker 1", "a")
    told.submit("b", **terms)
    told.deliver("b")
    told.reserve("worker 1", "a", token="1.9", attempt=2)
    assert told.verdict("requeue_keeps_position").status == expected
