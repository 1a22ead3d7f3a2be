"""What becomes of a lease that is lost: stale and late ACKs, and the job's way back to the next worker."""

from collections.abc import Callable

import pytest
from histories import Told

from dsjq_lab.verdict import HOLDS, VIOLATED


def given_on(token: str | None = None, other: str | None = None) -> Told:
    """Worker 1 loses job a to worker 2 by its lease, from 10 to 111."""
    told = Told(ack_timeout_ms=100)
    told.submit("a")
    told.reserve("worker 1", "a", token=token, at=(10, 11))
    told.reserve("worker 2", "a", token=other, at=(200, 201))
    return told


# no_stale_ack


def test_a_zombie_acknowledges() -> None:
    told = given_on()
    told.ack("worker 1", "a", at=(202, 203))
    verdict = told.verdict("no_stale_ack")
    assert verdict.summary == "job a of worker 2: ACK of worker 1 answered OK"
    assert (verdict.status, verdict.ops) == (VIOLATED, (2, 3, 4, 5, 6, 7))


def test_what_the_new_holder_did_since_gives_the_zombie_no_right_back() -> None:
    told = given_on()
    told.fail("worker 2", "a")
    told.ack("worker 1", "a")
    assert told.verdict("no_stale_ack").status == VIOLATED


@pytest.mark.parametrize(
    ("outcome", "at"),
    [("fail", (202, 203)), ("info", (202, 203)), ("ok", (201, 203)), ("ok", (150, 203))],
    ids=["refused", "unknown", "sent as the other's reply arrived", "sent before"],
)
def test_no_certain_zombie(outcome: str, at: tuple[int, int]) -> None:
    told = given_on()
    told.ack("worker 1", "a", outcome=outcome, error="STALE", at=at)
    assert told.verdict("no_stale_ack").status == HOLDS


def test_two_requests_under_way_together_have_no_certain_order() -> None:
    told = Told(ack_timeout_ms=100)
    told.submit("a")
    told.reserve("worker 2", "a", at=(10, 201))  # the first: read late
    told.reserve("worker 1", "a", at=(150, 200))
    told.ack("worker 1", "a", at=(202, 203))
    assert told.verdict("no_stale_ack").status == HOLDS


def test_repeating_an_ack_is_not_stale() -> None:
    told = Told(ack_timeout_ms=100)
    told.submit("a")
    told.reserve("worker 1", "a", at=(10, 11))
    told.ack("worker 1", "a", at=(12, 13))
    told.reserve("worker 2", "a", at=(200, 201))  # a crime, but another one
    told.ack("worker 1", "a", at=(202, 203))
    assert told.verdict("no_stale_ack").status == HOLDS


def test_on_one_connection_the_token_tells_the_leases_apart() -> None:
    told = Told(ack_timeout_ms=100)
    told.submit("a")
    told.reserve("worker 1", "a", token="1.1", at=(10, 11))
    told.reserve("worker 1", "a", token="1.2", at=(200, 201))
    told.ack("worker 1", "a", token="1.2", at=(202, 203))
    assert told.verdict("no_stale_ack").status == HOLDS
    told.ack("worker 1", "a", token="1.1", at=(204, 205))
    assert told.verdict("no_stale_ack").status == VIOLATED


# late_ack_refused


@pytest.mark.parametrize(
    ("sent_ms", "token", "expected"),
    [
        (111, "1.1", HOLDS),
        (112, "1.1", VIOLATED),
        (161, None, HOLDS),  # a broker without tokens may sweep: here it has 50 ms to do so
        (162, None, VIOLATED),
    ],
)
def test_a_lease_ends(sent_ms: int, token: str | None, expected: str) -> None:
    told = Told(ack_timeout_ms=100, tolerance_ms=50)
    told.submit("a")
    told.reserve("worker 1", "a", token=token, at=(10, 11))
    told.ack("worker 1", "a", token=token, at=(sent_ms, sent_ms + 1))
    assert told.verdict("late_ack_refused").status == expected


@pytest.mark.parametrize(("outcome", "expected"), [("ok", HOLDS), ("fail", VIOLATED)])
def test_a_touch_renews_a_lease_unless_it_was_refused(outcome: str, expected: str) -> None:
    told = Told(ack_timeout_ms=100)
    told.submit("a")
    told.reserve("worker 1", "a", token="1.1", at=(10, 11))
    told.touch("worker 1", "a", token="1.1", outcome=outcome, error="STALE", at=(50, 60))
    told.ack("worker 1", "a", token="1.1", at=(160, 161))
    assert told.verdict("late_ack_refused").status == expected


def test_a_late_ack_says_how_late_it_was() -> None:
    told = Told(ack_timeout_ms=100)
    told.submit("a")
    told.reserve("worker 1", "a", token="1.1", at=(10, 11))
    told.touch("worker 1", "a", token="1.1", at=(50, 51))
    told.ack("worker 1", "a", token="1.1", at=(511, 512))
    summary = told.verdict("late_ack_refused").summary
    assert summary == (
        "job a: ACK of worker 1 answered OK 0.50 s after it got the job, and a lease lasts 0.1 s from a TOUCH"
    )


def test_to_repeat_an_ack_after_the_lease_is_not_late() -> None:
    told = Told(ack_timeout_ms=100)
    told.submit("a")
    told.reserve("worker 1", "a", token="1.1", at=(10, 11))
    told.ack("worker 1", "a", token="1.1", at=(20, 21))
    told.ack("worker 1", "a", token="1.1", at=(300, 301))
    assert told.verdict("late_ack_refused").status == HOLDS


def test_a_broker_that_was_paused_may_have_had_no_time_to_sweep() -> None:
    told = Told(ack_timeout_ms=100, tolerance_ms=50)
    told.submit("a")
    told.reserve("worker 1", "a", at=(10, 11))
    told.now_ms = 100
    told.fault("pause", "broker", "begin", "struck")
    told.now_ms = 300
    told.fault("pause", "broker", "end")
    told.ack("worker 1", "a", at=(340, 341))
    assert told.verdict("late_ack_refused").status == HOLDS


# redelivered_in_time: back at `lost_ms`, and then worker 2 is told EMPTY


def held(token: str | None = None, **promises: int) -> Told:
    told = Told(ack_timeout_ms=100, tolerance_ms=50, **promises)
    told.submit("a")
    told.reserve("worker 1", "a", token=token, at=(10, 11))
    return told


def lapsed(told: Told) -> int:
    return 111 + 50


def failed(told: Told) -> int:
    told.fail("worker 1", "a", at=(20, 30))
    return 30 + 50


def killed(told: Told) -> int:
    told.now_ms = 20
    told.fault("kill", "worker 1", "begin")
    told.now_ms = 25
    told.fault("kill", "worker 1", "struck")
    return 25 + 50


def exited(told: Told) -> int:
    told.now_ms = 25
    told.exit("worker 1")
    return 25 + 50


def hung_up(told: Told) -> int:
    told.now_ms = 20
    told.close("worker 1")
    told.connect("worker 1", at=(25, 26))  # only now has it certainly closed the other
    return 25 + 50


def gave_up_waiting(told: Told) -> int:
    told.touch("worker 1", "a", outcome="info", error="timeout", at=(20, 22))
    told.connect("worker 1", at=(25, 26))
    return 25 + 50


LOSSES = [lapsed, failed, killed, exited, hung_up, gave_up_waiting]


@pytest.mark.parametrize("lose", LOSSES, ids=lambda lose: lose.__name__)
def test_a_job_that_came_back_is_withheld(lose: Callable[[Told], int]) -> None:
    told = held()
    back_ms = lose(told)
    told.empty("worker 2", at=(back_ms + 1, back_ms + 2))
    told.reserve("worker 2", "a", at=(500, 501))
    verdict = told.verdict("redelivered_in_time")
    assert (verdict.status, verdict.job) == (VIOLATED, "a")
    assert verdict.summary == "worker 2 was told EMPTY while job a had come back from worker 1"


@pytest.mark.parametrize("lose", LOSSES, ids=lambda lose: lose.__name__)
def test_within_its_grace_a_broker_may_say_empty(lose: Callable[[Told], int]) -> None:
    told = held()
    back_ms = lose(told)
    told.empty("worker 2", at=(back_ms, 400))
    told.reserve("worker 2", "a", at=(500, 501))
    assert told.verdict("redelivered_in_time").status == HOLDS


@pytest.mark.parametrize(("asked_ms", "expected"), [(161, HOLDS), (162, VIOLATED)])
def test_a_broker_that_looks_at_no_connections_has_until_the_lease_ends(
    asked_ms: int, expected: str
) -> None:
    told = held()
    told.header = told.header._replace(gives_back_at_disconnect=False)
    assert killed(told) < asked_ms
    told.empty("worker 2", at=(asked_ms, asked_ms + 1))
    assert told.verdict("redelivered_in_time").status == expected


@pytest.mark.parametrize(("asked_ms", "expected"), [(111, HOLDS), (112, VIOLATED)])
def test_a_broker_that_gives_tokens_looks_at_its_clock_at_each_command(asked_ms: int, expected: str) -> None:
    told = held(token="1.1")
    told.empty("worker 2", at=(asked_ms, asked_ms + 1))
    assert told.verdict("redelivered_in_time").status == expected


@pytest.mark.parametrize(("outcome", "back_ms"), [("ok", 151 + 50), ("info", 111 + 50 + 50)])
def test_a_fail_may_be_heard_as_long_as_the_lease_is_not_swept(outcome: str, back_ms: int) -> None:
    for asked_ms, expected in ((back_ms, HOLDS), (back_ms + 1, VIOLATED)):
        told = held()
        told.fail("worker 1", "a", outcome=outcome, error="timeout", at=(150, 151))
        told.empty("worker 2", at=(asked_ms, asked_ms + 1))
        assert told.verdict("redelivered_in_time").status == expected


def test_a_failed_job_may_have_to_wait_for_its_retry() -> None:
    told = held(token="1.1", backoff_ms=300)
    told.fail("worker 1", "a", token="1.1", at=(20, 30))
    told.empty("worker 2", at=(330, 331))
    assert told.verdict("redelivered_in_time").status == HOLDS
    told.empty("worker 2", at=(332, 333))
    assert told.verdict("redelivered_in_time").status == VIOLATED


def acked(told: Told) -> None:
    told.ack("worker 1", "a", at=(20, 21))


def perhaps_acked(told: Told) -> None:
    told.ack("worker 1", "a", outcome="info", error="eof", at=(20, 21))


def perhaps_touched(told: Told) -> None:
    told.touch("worker 1", "a", outcome="info", error="timeout", at=(20, 22))


def given_to_another(told: Told) -> None:
    told.reserve("worker 3", "a", at=(190, 250))


def perhaps_given_to_another(told: Told) -> None:
    told.reserve("worker 3", "a", outcome="info", error="eof", at=(190, 250))


def asked_by_one_who_was_killed(told: Told) -> None:
    told.reserve("worker 3", "a", outcome=None, at=(30, 31))


def broker_in_trouble(told: Told) -> None:
    told.now_ms = 60
    told.fault("throttle", "broker", "begin", "struck")
    told.now_ms = 190
    told.fault("throttle", "broker", "end")


def broker_gone(told: Told) -> None:
    told.now_ms = 60
    told.fault("restart", "broker")
    told.broker_ready()


def acked_by_a_stranger(told: Told) -> None:
    told.ack("worker 4", "a", at=(60, 61))


@pytest.mark.parametrize(
    "happen",
    [
        acked, perhaps_acked, perhaps_touched, given_to_another, perhaps_given_to_another,
        asked_by_one_who_was_killed, broker_in_trouble, broker_gone, acked_by_a_stranger,
    ],
    ids=lambda happen: happen.__name__,
)  # fmt: skip
def test_an_empty_queue_that_can_be_explained(happen: Callable[[Told], None]) -> None:
    told = held()
    happen(told)
    told.empty("worker 2", at=(200, 210))
    assert told.verdict("redelivered_in_time").status == HOLDS
    unexplained = held()
    unexplained.empty("worker 2", at=(200, 210))
    assert unexplained.verdict("redelivered_in_time").status == VIOLATED


def test_a_request_that_was_lost_explains_nothing_after_its_connection_is_certainly_over() -> None:
    told = held()
    told.reserve("worker 3", "a", outcome="info", error="timeout", at=(30, 40))
    told.connect("worker 3", at=(41, 42))
    told.empty("worker 2", at=(200, 210))
    assert told.verdict("redelivered_in_time").status == VIOLATED


@pytest.mark.parametrize(("limit", "expected"), [(1, HOLDS), (2, VIOLATED)])
def test_a_job_at_its_limit_of_attempts_does_not_come_back(limit: int, expected: str) -> None:
    told = held(max_attempts=limit)
    told.empty("worker 2", at=(200, 210))
    assert told.verdict("redelivered_in_time").status == expected


def test_a_first_delivery_is_no_redelivery() -> None:
    told = Told()
    told.submit("a")
    told.empty("worker 2", at=(200, 210))
    assert told.verdict("redelivered_in_time").status == HOLDS


# RELEASE: back at once, and the delivery does not count


@pytest.mark.parametrize(("said", "expected"), [("release", HOLDS), ("fail", VIOLATED)])
def test_what_is_released_does_not_count_towards_the_limit(said: str, expected: str) -> None:
    told = Told(max_attempts=2)
    told.submit("a")
    for attempt in (1, 2, 3):
        told.reserve("worker 1", "a", token=f"1.{attempt}", attempt=attempt)
        getattr(told, said)("worker 1", "a", token=f"1.{attempt}")
    assert told.verdict("dead_letter_at_limit").status == expected


def test_a_job_that_was_released_is_dead_too_early_if_that_was_counted() -> None:
    told = Told(max_attempts=2)
    told.submit("a")
    told.reserve("worker 1", "a", token="1.1", attempt=1)
    told.release("worker 1", "a", token="1.1")
    told.reserve("worker 1", "a", token="1.2", attempt=2)
    told.fail("worker 1", "a", token="1.2")
    told.dead("a")
    assert told.verdict("dead_letter_at_limit").status == VIOLATED


@pytest.mark.parametrize(("verb", "expected"), [("restart", HOLDS), ("kill", VIOLATED)])
def test_a_broker_that_stops_takes_back_what_is_in_flight(verb: str, expected: str) -> None:
    told = Told(max_attempts=1, ack_timeout_ms=1000, durable=True)
    told.submit("a")
    told.reserve("worker 1", "a", token="1.1", attempt=1)
    told.fault(verb, "broker", "begin", "struck")
    told.broker_ready()
    told.fault(verb, "broker", "end")
    told.reserve("worker 2", "a", token="2.1", attempt=2)
    assert told.verdict("dead_letter_at_limit").status == expected


def test_a_released_job_is_back_at_once_and_its_backoff_is_no_excuse() -> None:
    for said, expected in (("release", VIOLATED), ("fail", HOLDS)):
        told = Told(ack_timeout_ms=1000, backoff_ms=500)
        told.submit("a")
        told.reserve("worker 1", "a", token="1.1", attempt=1)
        getattr(told, said)("worker 1", "a", token="1.1")
        told.now_ms += 100
        told.empty("worker 2")
        told.end()
        assert told.verdict("redelivered_in_time").status == expected


def test_a_job_that_is_released_was_delivered_again_for_that_reason() -> None:
    told = Told()
    told.submit("a")
    told.reserve("worker 1", "a")
    told.release("worker 1", "a")
    told.reserve("worker 2", "a")
    assert told.model().counts()["after_release"] == 1
