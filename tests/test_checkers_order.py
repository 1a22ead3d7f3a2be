"""What is numbered, counted and ordered: tokens, attempts, ids, the limit, and who goes first."""

import pytest
from histories import Told

from dsjq_lab.verdict import HOLDS, NOT_APPLICABLE, UNKNOWN, VIOLATED

# attempts_increase


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (("1.9", 1), ("1.10", 2), HOLDS),
        (("1.9", 1), ("2.1", 2), HOLDS),
        (("1.10", 1), ("1.9", 2), VIOLATED),
        (("2.1", 1), ("1.9", 2), VIOLATED),
        (("1.1", 2), ("1.2", 2), VIOLATED),
        (("1.1", 2), ("1.2", 1), VIOLATED),
        (("xyz", 1), ("abc", 2), HOLDS),  # who can say which of these is larger?
        (("xyz", 1), ("xyz", 2), VIOLATED),
        ((None, None), (None, None), HOLDS),
    ],
)
def test_a_later_delivery_has_the_larger_numbers(
    first: tuple[str, int], second: tuple[str, int], expected: str
) -> None:
    told = Told(ack_timeout_ms=100)
    told.submit("a")
    told.reserve("worker 1", "a", token=first[0], attempt=first[1], at=(10, 11))
    told.reserve("worker 2", "a", token=second[0], attempt=second[1], at=(200, 201))
    assert told.verdict("attempts_increase").status == expected


def test_replies_that_overtook_one_another_have_no_certain_order() -> None:
    told = Told(ack_timeout_ms=100)
    told.submit("a")
    told.reserve("worker 2", "a", token="1.2", attempt=2, at=(10, 300))
    told.reserve("worker 1", "a", token="1.1", attempt=1, at=(11, 301))
    assert told.verdict("attempts_increase").status == HOLDS


def test_the_largest_number_before_is_remembered() -> None:
    told = Told(ack_timeout_ms=10)
    told.submit("a")
    for token, attempt in (("1.1", 1), ("1.5", 5), ("1.6", 3)):
        told.reserve("worker 1", "a", token=token, attempt=attempt)
        told.now_ms += 100
    verdict = told.verdict("attempts_increase")
    assert (verdict.status, verdict.summary) == (VIOLATED, "job a: attempt first 5, later 3")


def test_one_token_for_two_jobs() -> None:
    told = Told()
    told.submit("a")
    told.submit("b")
    told.reserve("worker 1", "a", token="1.1")
    told.reserve("worker 2", "b", token="1.1")
    verdict = told.verdict("attempts_increase")
    assert (verdict.status, verdict.summary) == (VIOLATED, "job b: token 1.1 given to worker 1 and worker 2")


def test_one_id_for_two_jobs() -> None:
    told = Told()
    told.submit("a", id="7")
    told.submit("b", id="7")
    assert told.verdict("attempts_increase").summary == "id 7 names two jobs"
    told = Told()
    told.submit("a", id="7")
    told.submit("b", outcome="info", error="eof")
    told.reserve("worker 1", "b", id="7")
    assert told.verdict("attempts_increase").status == VIOLATED


def test_a_new_life_of_the_broker_may_begin_to_count_anew() -> None:
    told = Told()
    told.submit("a", id="1")
    told.reserve("worker 1", "a", id="1", token="1.1", attempt=1)
    told.fault("kill", "broker", "begin")
    told.submit("c", id="1", process="producer 2")  # answered before it died, or after? in doubt
    told.fault("kill", "broker", "struck", "end")
    told.broker_ready()
    told.submit("b", id="1")
    told.reserve("worker 2", "b", id="1", token="1.1", attempt=1)
    assert told.verdict("attempts_increase").status == HOLDS


# dead_letter_at_limit


def tried(times: int, limit: int | None = 2) -> Told:
    told = Told(max_attempts=limit)
    told.submit("a")
    for _ in range(times):
        told.reserve("worker 1", "a")
        told.fail("worker 1", "a")
    return told


@pytest.mark.parametrize(("times", "expected"), [(1, VIOLATED), (2, HOLDS), (3, VIOLATED)])
def test_a_job_is_dead_at_its_limit(times: int, expected: str) -> None:
    told = tried(times)
    told.dead("a")
    assert told.verdict("dead_letter_at_limit").status == expected


def test_how_often_it_was_tried_is_said() -> None:
    too_often, too_early = tried(3), tried(1)
    too_early.dead("a")
    assert too_often.verdict("dead_letter_at_limit").summary == "job a delivered 3 times, and the limit is 2"
    assert too_early.verdict("dead_letter_at_limit").summary == (
        "job a dead after 1 attempt, and the limit is 2"
    )


def test_a_request_without_a_reply_may_have_been_an_attempt() -> None:
    told = tried(1)
    told.reserve("worker 2", "a", outcome="info", error="eof")
    told.dead("a")
    assert told.verdict("dead_letter_at_limit").status == HOLDS


def test_one_that_was_over_before_the_job_existed_was_none() -> None:
    told = Told(max_attempts=2, tolerance_ms=5)
    told.reserve("worker 2", "a", outcome="info", error="timeout")
    told.connect("worker 2")
    told.now_ms = 50
    told.submit("a")
    told.reserve("worker 1", "a")
    told.fail("worker 1", "a")
    told.dead("a")
    assert told.verdict("dead_letter_at_limit").status == VIOLATED


@pytest.mark.parametrize(
    ("outcome", "expected"), [("ok", HOLDS), ("info", HOLDS), (None, HOLDS), ("fail", VIOLATED)]
)
def test_a_kick_that_may_have_counted_gives_as_many_attempts_again(outcome: str, expected: str) -> None:
    told = tried(2)
    told.dead("a")
    told.kick("a", outcome=outcome, error="NOT_DEAD")
    told.reserve("worker 1", "a")
    assert told.verdict("dead_letter_at_limit").status == expected


def test_a_finished_job_is_not_dead() -> None:
    told = tried(1)
    told.reserve("worker 1", "a")
    told.ack("worker 1", "a", at=(50, 60))
    told.dead("a", at=(60, 61))  # may have been asked before the ACK was heard
    assert told.verdict("dead_letter_at_limit").status == HOLDS
    told.dead("a", at=(62, 63))
    assert told.verdict("dead_letter_at_limit").summary == "job a was done, then listed as dead"


def test_without_a_limit_there_is_nothing_to_judge() -> None:
    assert tried(20, limit=None).verdict("dead_letter_at_limit").status == NOT_APPLICABLE


def test_a_broker_that_lists_no_dead_may_have_buried_a_job_at_its_limit() -> None:
    for times, expected in ((1, VIOLATED), (2, HOLDS)):
        told = tried(times)
        told.now_ms = 2000
        told.end()
        assert told.verdict("no_lost_job").status == expected
        assert told.verdict("everything_finishes").status == expected


def test_more_dead_than_were_listed_may_be_any() -> None:
    told = tried(2)
    told.stats(submitted=1, dead=1)
    told.now_ms = 2000
    told.end()
    assert told.verdict("no_lost_job").status == UNKNOWN
    assert told.verdict("everything_finishes").status == UNKNOWN
    told.dead("a")
    assert told.verdict("no_lost_job").status == HOLDS


def test_a_kicked_job_is_dead_no_more() -> None:
    told = tried(2)
    told.dead("a")
    told.kick("a")
    told.end()
    assert told.verdict("no_lost_job").status == VIOLATED


# fifo


def two_jobs(*order: str, token: bool = True, attempt: int = 1) -> Told:
    told = Told(ack_timeout_ms=1000)
    told.submit("a")
    told.submit("b")
    for place, nonce in enumerate(order, 1):
        numbers = {"token": f"1.{place}", "attempt": attempt} if token else {}
        told.reserve("worker 1", nonce, **numbers)
        told.ack("worker 1", nonce)
    return told


@pytest.mark.parametrize("token", [True, False])
def test_first_in_first_out(token: bool) -> None:
    assert two_jobs("a", "b", token=token).verdict("fifo").status == HOLDS
    verdict = two_jobs("b", "a", token=token).verdict("fifo")
    assert verdict.summary == "job b was delivered before job a, and submitted after it"
    assert (verdict.job, verdict.ops) == ("a", (0, 1, 2, 3, 4, 5, 8, 9))


def test_jobs_submitted_together_may_go_in_either_order() -> None:
    told = Told()
    told.submit("a", at=(0, 5))
    told.submit("b", process="producer 2", at=(5, 9))
    told.reserve("worker 1", "b", token="1.1", attempt=1)
    told.reserve("worker 1", "a", token="1.2", attempt=1)
    assert told.verdict("fifo").status == HOLDS


def test_requests_under_way_together_may_be_answered_in_either_order() -> None:
    told = Told()
    told.submit("a")
    told.submit("b")
    told.reserve("worker 1", "b", token="1.2", attempt=1, at=(10, 20))
    told.reserve("worker 2", "a", token="1.1", attempt=1, at=(20, 21))
    assert told.verdict("fifo").status == HOLDS


def test_only_first_attempts_are_compared() -> None:
    assert two_jobs("b", "a", attempt=2).verdict("fifo").status == HOLDS


def test_a_submit_without_an_answer_has_no_place_yet() -> None:
    told = Told()
    told.submit("a", outcome="info", error="timeout")
    told.submit("b", process="producer 2")
    told.reserve("worker 1", "b", token="1.1", attempt=1)
    told.reserve("worker 1", "a", token="1.2", attempt=1)
    assert told.verdict("fifo").status == HOLDS


def test_without_tokens_order_is_judged_only_where_nothing_came_back() -> None:
    failed = two_jobs("b", token=False)
    failed.reserve("worker 1", "a")
    failed.fail("worker 1", "a")
    late = two_jobs("b", token=False)
    late.reserve("worker 1", "a")
    lost = two_jobs("b", "a", token=False)
    lost.reserve("worker 1", "a", outcome="info", error="eof")
    verdicts = [told.verdict("fifo") for told in (failed, late, lost)]
    assert [verdict.status for verdict in verdicts] == [NOT_APPLICABLE] * 3
    assert [verdict.summary.rpartition(", and ")[2] for verdict in verdicts] == [
        "a job was given back with FAIL", "a worker lost a job", "a request had no reply",
    ]  # fmt: skip


# requeue_keeps_position: a comes back at 31, b is delivered, then a


def overtaken(**b: tuple[int, int]) -> Told:
    times = {"submitted": (2, 3), "delivered": (40, 41), "again": (50, 51)} | b
    told = Told(ack_timeout_ms=1000)
    told.submit("a", at=(0, 1))
    told.submit("b", at=times["submitted"])
    told.reserve("worker 1", "a", token="1.1", attempt=1, at=(10, 11))
    told.fail("worker 1", "a", token="1.1", at=(30, 31))
    told.reserve("worker 2", "b", token="1.2", attempt=1, at=times["delivered"])
    told.reserve("worker 3", "a", token="1.3", attempt=2, at=times["again"])
    return told


def test_a_job_that_came_back_is_overtaken() -> None:
    verdict = overtaken().verdict("requeue_keeps_position")
    assert (verdict.status, verdict.job) == (VIOLATED, "a")
    assert verdict.summary == "job a had come back, and job b, submitted after it, was delivered first"


@pytest.mark.parametrize(
    "times",
    [{"submitted": (1, 3)}, {"delivered": (31, 41)}, {"delivered": (40, 50)}],
    ids=["submitted together", "asked for before it was certainly back", "answered as it was asked for"],
)
def test_no_certain_overtaking(times: dict[str, tuple[int, int]]) -> None:
    assert overtaken(**times).verdict("requeue_keeps_position").status == HOLDS


def test_a_job_that_was_kicked_may_have_been_dead_meanwhile() -> None:
    told = overtaken()
    told.kick("a", at=(42, 43))
    assert told.verdict("requeue_keeps_position").status == HOLDS


def test_somebody_else_may_have_had_it_meanwhile() -> None:
    told = overtaken()
    told.ops[-1].value["attempt"] = 3
    assert told.verdict("requeue_keeps_position").status == HOLDS


def test_of_many_waits_and_deliveries_the_one_is_found() -> None:
    told = Told(ack_timeout_ms=10_000)
    jobs = [f"j{number}" for number in range(20)]
    for job in jobs:
        told.submit(job)
    for token, job in enumerate(jobs[:10]):
        told.reserve("worker 1", job, token=f"1.{token}", attempt=1)
        told.fail("worker 1", job, token=f"1.{token}")
        told.reserve("worker 1", job, token=f"2.{token}", attempt=2)
        told.ack("worker 1", job, token=f"2.{token}")
    assert told.verdict("requeue_keeps_position").status == HOLDS
    told.reserve("worker 1", "j10", token="3.1", attempt=1)
    told.fail("worker 1", "j10", token="3.1")
    for token, job in enumerate(["j11", "j15", "j12"]):
        told.reserve("worker 1", job, token=f"4.{token}", attempt=1)
    told.reserve("worker 1", "j10", token="5.1", attempt=2)
    verdict = told.verdict("requeue_keeps_position")
    assert (verdict.status, verdict.count) == (VIOLATED, 1)
    assert "job j10 had come back, and job j15" in verdict.summary


def test_without_tokens_a_job_may_come_back_anywhere() -> None:
    told = two_jobs("a", "b", token=False)
    assert told.verdict("requeue_keeps_position").status == NOT_APPLICABLE
