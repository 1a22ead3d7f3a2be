"""What a broker with a disk owes over all its lives, and what one without it does not."""

import pytest
from histories import Told

from dsjq_lab.verdict import HOLDS, NOT_APPLICABLE, VIOLATED


def died_with_a_job(durable: bool = True, verb: str = "kill", **promises: int) -> Told:
    """Worker 1 had job a when the broker died at 20; it is back at 30."""
    told = Told(ack_timeout_ms=1000, tolerance_ms=50, durable=durable, **promises)
    told.broker_ready()
    told.submit("a")
    told.reserve("worker 1", "a", token="1.1", attempt=1, at=(10, 11))
    back(told, 20, verb)
    return told


def back(told: Told, died_ms: int, verb: str = "kill") -> None:
    told.now_ms = died_ms
    told.fault(verb, "broker", "begin", "struck")
    told.now_ms = died_ms + 9
    told.broker_ready()
    told.fault(verb, "broker", "end")
    told.reconnect("worker 1")
    told.reconnect("worker 2")


BOTH = pytest.mark.parametrize(("durable", "expected"), [(True, VIOLATED), (False, HOLDS)])


# attempts_increase


@BOTH
@pytest.mark.parametrize("token", ["1.1", "0.9"], ids=["the same", "a smaller one"])
def test_a_token_is_not_used_again_in_a_later_life(token: str, durable: bool, expected: str) -> None:
    told = died_with_a_job(durable)
    told.reserve("worker 2", "a", token=token, attempt=2, at=(100, 101))
    assert told.verdict("attempts_increase").status == expected


@BOTH
def test_an_id_is_not_used_again_in_a_later_life(durable: bool, expected: str) -> None:
    told = died_with_a_job(durable)
    told.submit("b", id="a")
    assert told.verdict("attempts_increase").status == expected


@pytest.mark.parametrize(
    ("verb", "expected"),
    [("kill", VIOLATED), ("power_loss", HOLDS), ("torn_tail", HOLDS), ("bit_flip", HOLDS)],
)
def test_only_a_harmed_disk_takes_attempts_back(verb: str, expected: str) -> None:
    told = died_with_a_job(verb=verb)
    told.reserve("worker 2", "a", token="2.1", attempt=1, at=(100, 101))
    assert told.verdict("attempts_increase").status == expected


@pytest.mark.parametrize(("verb", "expected"), [("kill", VIOLATED), ("power_loss", HOLDS)])
def test_which_life_gave_a_job_out_matters_only_if_the_disk_was_harmed(verb: str, expected: str) -> None:
    told = died_with_a_job(verb=verb)  # the lab noticed at 30 that it was back
    told.reserve("worker 2", "a", token="2.1", attempt=1, at=(25, 26))
    assert told.verdict("attempts_increase").status == expected


def test_after_a_loss_of_power_attempts_increase_again() -> None:
    told = died_with_a_job(verb="power_loss")
    told.reserve("worker 2", "a", token="2.1", attempt=1, at=(100, 101))
    told.reserve("worker 2", "a", token="2.2", attempt=1, at=(2000, 2001))
    assert told.verdict("attempts_increase").status == VIOLATED


def test_a_token_is_not_used_again_after_a_loss_of_power_either() -> None:
    told = died_with_a_job(verb="power_loss")
    told.reserve("worker 2", "a", token="1.1", attempt=1, at=(100, 101))
    assert told.verdict("attempts_increase").status == VIOLATED


def test_a_right_second_life() -> None:
    told = died_with_a_job()
    told.submit("b")
    told.reserve("worker 2", "a", token="2.1", attempt=2, at=(100, 101))
    told.ack("worker 2", "a", token="2.1")
    told.reserve("worker 2", "b", token="2.2", attempt=1)
    told.ack("worker 2", "b", token="2.2")
    told.end()
    assert not [v for v in told.verdicts() if v.status not in (HOLDS, NOT_APPLICABLE)]


# no_lost_job, done_is_final


@pytest.mark.parametrize("durable", [True, False])
def test_what_a_death_takes_away_is_lost(durable: bool) -> None:
    told = died_with_a_job(durable)
    told.end()
    assert told.verdict("no_lost_job").status == VIOLATED


def test_a_later_life_forgot_that_the_job_was_done() -> None:
    told = Told(durable=True)
    told.submit("a", outcome="info", error="timeout")
    told.submit("a", id="7")
    told.reserve("worker 1", "a", id="7", at=(10, 11))
    told.ack("worker 1", "7", at=(12, 13))
    back(told, 20)
    told.reserve("worker 2", "a", id="8", at=(100, 101))  # the other one
    assert told.verdict("done_is_final").status == HOLDS
    told.reserve("worker 2", "a", id="7", at=(102, 103))
    assert told.verdict("done_is_final").status == VIOLATED


# dead_letter_at_limit


@pytest.mark.parametrize(
    ("durable", "verb", "expected"),
    [(True, "kill", VIOLATED), (True, "power_loss", HOLDS), (False, "kill", HOLDS)],
)
def test_attempts_count_towards_the_limit_in_the_next_life(durable: bool, verb: str, expected: str) -> None:
    told = died_with_a_job(durable, verb, max_attempts=1)
    told.reserve("worker 2", "a", token="2.1", attempt=2, at=(100, 101))
    assert told.verdict("dead_letter_at_limit").status == expected


def test_a_black_box_need_not_count_attempts_over_its_death() -> None:
    told = Told(durable=True, max_attempts=1)
    told.submit("a")
    told.reserve("worker 1", "a", at=(10, 11))
    back(told, 20)
    told.reserve("worker 2", "a", at=(100, 101))
    assert told.verdict("dead_letter_at_limit").status == HOLDS


@BOTH
def test_done_in_one_life_and_dead_in_the_next(durable: bool, expected: str) -> None:
    told = Told(durable=durable, max_attempts=1)
    told.submit("a")
    told.reserve("worker 1", "a", at=(10, 11))
    told.ack("worker 1", "a", at=(12, 13))
    back(told, 20)
    told.dead("a")
    assert told.verdict("dead_letter_at_limit").status == expected


# redelivered_in_time: the broker is back at 29, its fault over at 30, and it has 50 ms


@pytest.mark.parametrize(
    ("asked_ms", "durable", "expected"), [(82, True, VIOLATED), (79, True, HOLDS), (82, False, HOLDS)]
)
def test_what_was_in_flight_is_back_when_the_broker_is(asked_ms: int, durable: bool, expected: str) -> None:
    told = died_with_a_job(durable)
    told.empty("worker 2", at=(asked_ms, asked_ms + 1))
    assert told.verdict("redelivered_in_time").status == expected


def test_a_job_that_was_never_confirmed_may_be_gone() -> None:
    told = Told(durable=True, tolerance_ms=50)
    told.submit("a", outcome="info", error="timeout")
    told.reserve("worker 1", "a", at=(10, 11))
    back(told, 20)
    told.empty("worker 2", at=(100, 101))
    assert told.verdict("redelivered_in_time").status == HOLDS


def test_a_broker_that_died_again_gets_its_time_again() -> None:
    for asked_ms, expected in ((250, HOLDS), (270, VIOLATED)):
        told = died_with_a_job()
        back(told, 200)
        told.empty("worker 2", at=(asked_ms, asked_ms + 1))
        assert told.verdict("redelivered_in_time").status == expected


def test_a_broker_that_ends_by_itself_is_dead_also_if_that_was_planned() -> None:
    told = Told(durable=True, tolerance_ms=50)
    told.submit("a")
    told.reserve("worker 1", "a", at=(10, 11))
    told.now_ms = 20
    told.exit("broker", planned=True)
    told.now_ms = 29
    told.broker_ready()
    assert [(death.begin_ns, death.until_ns) for death in told.model().deaths] == [(11_000_000, 29_000_000)]


# counts_conserved


@pytest.mark.parametrize(("durable", "expected"), [(True, VIOLATED), (False, HOLDS)])
def test_a_durable_broker_goes_on_counting(durable: bool, expected: str) -> None:
    told = died_with_a_job(durable)
    told.stats(submitted=0)
    told.end()
    assert told.verdict("counts_conserved").status == expected


# no_success_after_fsync_error: the last good sync returned at 30, and one failed at 40


def sync_failed(durable: bool = True) -> Told:
    told = Told(durable=durable)
    told.submit("a")
    told.reserve("worker 1", "a", at=(10, 11))
    told.now_ms = 39
    told.failed_sync(covers_from_ms=30)
    return told


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ((31, 50), VIOLATED),  # a second try succeeded, they thought
        ((31, 33), HOLDS),  # another rule's business: answered before the disk was asked
        ((30, 50), HOLDS),  # perhaps the good one covered it
        ((40, 50), HOLDS),  # perhaps it was written anew
    ],
)
@pytest.mark.parametrize("f", ["submit", "ack", "fail"])
def test_a_success_that_a_failed_sync_covered(f: str, at: tuple[int, int], expected: str) -> None:
    told = sync_failed()
    match f:
        case "submit":
            told.submit("b", at=at)
        case "ack":
            told.ack("worker 1", "a", at=at)
        case "fail":
            told.fail("worker 1", "a", at=at)
    verdict = told.verdict("no_success_after_fsync_error")
    assert verdict.status == expected
    if expected == VIOLATED:
        assert verdict.summary.startswith(f"job {'b' if f == 'submit' else 'a'}: {f.upper()} of ")


@pytest.mark.parametrize(("outcome", "error"), [("info", "eof"), ("fail", "ERROR STORAGE")])
def test_no_success(outcome: str, error: str) -> None:
    told = sync_failed()
    told.submit("b", outcome=outcome, error=error, at=(31, 50))
    assert told.verdict("no_success_after_fsync_error").status == HOLDS


def test_what_was_said_before_needs_no_sync() -> None:
    told = Told(durable=True)
    told.submit("a", key="a")
    told.reserve("worker 1", "a", at=(10, 11))
    told.ack("worker 1", "a", at=(12, 13))
    told.ack("worker 1", "a", at=(31, 50))
    told.submit("a", key="a", at=(32, 51))
    told.now_ms = 39
    told.failed_sync(covers_from_ms=30)
    assert told.verdict("no_success_after_fsync_error").status == HOLDS


def test_a_sync_that_did_not_fail_or_covers_nothing_that_was_promised() -> None:
    assert died_with_a_job().verdict("no_success_after_fsync_error").status == NOT_APPLICABLE
    assert sync_failed(durable=False).verdict("no_success_after_fsync_error").status == NOT_APPLICABLE


# kill_on: the order is given first, and it dies at some later moment


def test_a_broker_that_is_to_be_killed_lives_until_it_is() -> None:
    told = Told(ack_timeout_ms=1000, durable=True)
    told.broker_ready()
    told.submit("a")
    told.fault("kill_on", "broker", "begin")
    told.reserve("worker 1", "a", token="1.1", attempt=1)
    told.exit("broker")
    told.fault("kill_on", "broker", "struck")
    told.broker_ready()
    (death,) = told.model().deaths
    delivery = told.model().jobs["a"].deliveries[0]
    assert death.begin_ns == delivery.returned_ns and not death.harms_disk  # its last word
