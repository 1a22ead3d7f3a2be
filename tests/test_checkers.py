"""Each checker accuses where it must, and, harder, does not where a correct broker could have done it."""

from collections.abc import Callable

import pytest
from histories import MS, Told

from dsjq_lab import checkers
from dsjq_lab.model import Model
from dsjq_lab.vacuity import unproven
from dsjq_lab.verdict import HOLDS, NOT_APPLICABLE, UNKNOWN, VIOLATED, Verdict, merge


def plain() -> Told:
    """One job, submitted, delivered, acknowledged."""
    told = Told()
    told.submit("a hello")
    told.reserve("worker 1", "a hello")
    told.ack("worker 1", "a")
    return told


def test_a_plain_run_satisfies_everything() -> None:
    told = plain()
    told.end()
    verdicts = checkers.judge(told.model())
    assert {v.status for v in verdicts} == {HOLDS, NOT_APPLICABLE}
    assert verdicts[0].summary == "1 of 1 accounted for"


def test_a_black_box_has_no_row_that_needs_more_than_the_four_commands() -> None:
    told = Told(max_attempts=None)
    told.submit("a")
    told.reserve("worker 1", "a")
    told.fail("worker 1", "a")
    told.reserve("worker 1", "a")
    told.ack("worker 1", "a")
    told.end()
    silent = {v.invariant for v in checkers.judge(told.model()) if v.status == NOT_APPLICABLE}
    assert silent == {
        "effect_once", "dead_letter_at_limit", "fifo", "requeue_keeps_position", "urgent_first",
        "no_starvation", "not_early", "deduplicated", "no_success_after_fsync_error", "counts_conserved",
        "legal_transitions", "no_leak", "routed_right", "strangers_refused",
    }  # fmt: skip


# no_lost_job


def test_delivered_is_not_enough() -> None:
    told = Told()
    told.submit("a")
    told.reserve("worker 1", "a")
    told.fault("kill", "worker 1")
    told.end()
    verdict = told.verdict("no_lost_job")
    assert (verdict.status, verdict.job, verdict.count) == (VIOLATED, "a", 1)
    assert verdict.ops == (0, 1, 2, 3)


@pytest.mark.parametrize(
    "fate",
    [
        lambda told: told.ack("worker 1", "a", outcome="info", error="eof"),
        lambda told: told.ack("worker 1", "a", outcome=None),
        lambda told: told.ack("worker 2", "a"),
        lambda told: told.dead("a"),
    ],
    ids=["its ACK may have counted", "killed after sending ACK", "another's ACK was taken", "dead"],
)
def test_accounted_for(fate: Callable[[Told], None]) -> None:
    told = Told()
    told.submit("a")
    told.reserve("worker 1", "a")
    fate(told)
    told.end()
    assert told.verdict("no_lost_job").status == HOLDS


@pytest.mark.parametrize(
    ("kicked", "expected"),
    [("ok", UNKNOWN), ("info", UNKNOWN), ("fail", VIOLATED)],
    ids=["yes", "perhaps", "no"],
)
def test_one_dead_more_than_were_listed_may_be_the_missing_job(kicked: str, expected: str) -> None:
    told = Told()
    told.submit("a")
    told.submit("b")
    told.dead("a")
    told.kick("a", outcome=kicked, error=None if kicked == "ok" else "timeout")
    told.stats(2, dead=1)
    told.end()
    assert told.verdict("no_lost_job").status == expected


@pytest.mark.parametrize(("outcome", "error"), [("info", "timeout"), ("fail", "QUEUE_FULL no room")])
def test_nothing_was_promised(outcome: str, error: str) -> None:
    told = plain()
    told.submit("b", outcome=outcome, error=error)
    told.end()
    assert told.verdict("no_lost_job").status == HOLDS
    assert told.verdict("everything_finishes").status == HOLDS


def test_a_refused_ack_accounts_for_nothing() -> None:
    told = Told()
    told.submit("a")
    told.reserve("worker 1", "a")
    told.ack("worker 1", "a", outcome="fail", error="STALE too late")
    told.end()
    assert told.verdict("no_lost_job").status == VIOLATED


def test_without_a_drain_nothing_is_lost_yet() -> None:
    told = Told()
    told.submit("a")
    assert told.verdict("no_lost_job").status == UNKNOWN
    told.end(drained=False, why="gave up")
    assert told.verdict("no_lost_job").status == UNKNOWN
    done = plain()
    done.end(drained=False)
    assert done.verdict("no_lost_job").status == HOLDS


# no_unexpected_job


def test_a_job_that_nobody_submitted() -> None:
    told = plain()
    told.reserve("worker 1", "ghost")
    told.end()
    verdict = told.verdict("no_unexpected_job")
    assert (verdict.status, verdict.job) == (VIOLATED, "ghost")


def test_a_refused_job_that_came_nevertheless() -> None:
    told = Told()
    told.submit("a", outcome="fail", error="QUEUE_FULL no room")
    told.reserve("worker 1", "a")
    assert told.verdict("no_unexpected_job").status == VIOLATED


def test_a_job_may_come_if_any_of_its_submits_may_have_happened() -> None:
    told = Told()
    told.submit("a", outcome="fail", error="UNREACHABLE refused")
    told.submit("a", outcome="info", error="timeout")
    told.reserve("worker 1", "a")
    assert told.verdict("no_unexpected_job").status == HOLDS


def test_a_job_may_come_before_its_submit_returned() -> None:
    told = Told()
    told.submit("a", at=(0, 50))
    told.reserve("worker 1", "a", at=(10, 20))
    assert told.verdict("no_unexpected_job").status == HOLDS


# payload_intact


@pytest.mark.parametrize("delivered", ["a two  words", "a two words ", "a"])
def test_a_changed_payload(delivered: str) -> None:
    told = Told()
    told.submit("a two words")
    told.reserve("worker 1", delivered)
    assert told.verdict("payload_intact").status == VIOLATED
    assert told.verdict("no_unexpected_job").status == HOLDS


def test_an_empty_payload_is_a_payload() -> None:
    told = Told()
    told.submit("", id="7")
    told.reserve("worker 1", "", id="7")
    assert told.verdict("payload_intact").status == HOLDS
    assert told.verdict("no_unexpected_job").status == HOLDS


# exclusive_lease


def test_two_holders_at_once() -> None:
    told = Told()
    told.submit("a")
    told.reserve("worker 1", "a")
    told.reserve("worker 3", "a")
    verdict = told.verdict("exclusive_lease")
    assert verdict.status == VIOLATED
    assert verdict.summary == "job a held by worker 1 and worker 3 at once"


def test_a_long_hold_is_remembered_behind_a_short_one() -> None:
    told = Told(ack_timeout_ms=100)
    told.submit("a")
    told.reserve("worker 1", "a", at=(10, 11))
    told.fault("kill", "worker 2")
    told.reserve("worker 2", "a", at=(12, 30))
    told.fail("worker 2", "a", at=(31, 32))
    told.reserve("worker 3", "a", at=(60, 61))
    assert told.verdict("exclusive_lease").status == VIOLATED


def lapsed(told: Told) -> None:
    told.now_ms = 110  # the lease counts from the invocation, at 10


def failed(told: Told) -> None:
    told.fail("worker 1", "a", at=(20, 90))  # taken by the broker at once, answered late


def killed(told: Told) -> None:
    told.fault("kill", "worker 1", "begin")


def closed(told: Told) -> None:
    told.close("worker 1")


def timed_out(told: Told) -> None:
    told.touch("worker 1", "a", outcome="info", error="timeout")


def reset(told: Told) -> None:
    told.touch("worker 1", "a", outcome="info", error="reset", at=(30, 90))


def died_alone(told: Told) -> None:
    told.now_ms = 40
    told.exit("worker 1")


def stopped_by_the_lab(told: Told) -> None:
    told.exit("worker 1", planned=True)


def broker_killed(told: Told) -> None:
    told.fault("kill", "broker", "begin")


def broker_died(told: Told) -> None:
    told.now_ms = 40
    told.exit("broker")


ENDS = [
    lapsed,
    failed,
    killed,
    closed,
    timed_out,
    reset,
    died_alone,
    stopped_by_the_lab,
    broker_killed,
    broker_died,
]


@pytest.mark.parametrize("ending", ENDS, ids=lambda ending: ending.__name__)
def test_a_hold_that_may_have_ended_accuses_nobody(ending: Callable[[Told], None]) -> None:
    told = Told(ack_timeout_ms=100)
    told.submit("a")
    told.reserve("worker 1", "a", at=(10, 11))
    ending(told)
    told.reserve("worker 2", "a", at=(told.now_ms, told.now_ms + 1))
    assert told.verdict("exclusive_lease").status == HOLDS


def test_a_cut_connection_was_alive_only_until_its_last_answered_call_was_invoked() -> None:
    """A paused worker reads at 60 an answer sent before its connection was cut and its job given on."""
    told = Told(ack_timeout_ms=100)
    told.submit("a")
    told.reserve("worker 1", "a", at=(10, 11))
    told.touch("worker 1", "a", at=(20, 60))
    told.reserve("worker 2", "a", at=(40, 41))
    told.touch("worker 1", "a", outcome="info", error="eof", at=(61, 62))
    assert told.verdict("exclusive_lease").status == HOLDS


def test_a_pause_ends_no_hold() -> None:
    told = Told(ack_timeout_ms=100)
    told.submit("a")
    told.reserve("worker 1", "a", at=(10, 11))
    told.fault("pause", "worker 1")
    told.reserve("worker 2", "a", at=(60, 61))
    assert told.verdict("exclusive_lease").status == VIOLATED


@pytest.mark.parametrize(
    ("returned_ms", "outcome", "expected"),
    [(60, "ok", VIOLATED), (120, "ok", HOLDS), (60, "fail", HOLDS)],
    ids=["renewed", "perhaps revived", "refused"],
)
def test_only_a_touch_that_was_answered_in_time_extends(
    returned_ms: int, outcome: str, expected: str
) -> None:
    told = Told(ack_timeout_ms=100)
    told.submit("a")
    told.reserve("worker 1", "a", at=(10, 11))
    told.touch("worker 1", "a", outcome=outcome, at=(50, returned_ms))
    told.reserve("worker 2", "a", at=(130, 131))
    assert told.verdict("exclusive_lease").status == expected


def test_a_request_under_way_when_its_victim_is_struck_is_no_certain_hold() -> None:
    told = Told(ack_timeout_ms=100)
    told.submit("a")
    told.fault("kill", "broker", "begin")  # logged before the signal is sent: the broker still answers
    told.reserve("worker 1", "a")
    told.fault("kill", "broker", "struck")
    told.broker_ready()
    told.reserve("worker 2", "a")
    assert told.verdict("exclusive_lease").status == HOLDS
    told.reserve("worker 3", "a")
    assert told.verdict("exclusive_lease").status == VIOLATED


def test_a_missed_kill_ends_no_later_hold() -> None:
    told = Told(ack_timeout_ms=100)
    told.submit("a")
    told.fault("kill", "broker", "begin", "missed")
    told.reserve("worker 1", "a")
    told.reserve("worker 2", "a")
    assert told.verdict("exclusive_lease").status == VIOLATED


def test_a_retried_submit_makes_two_jobs_of_one_nonce() -> None:
    told = Told()
    told.submit("a", outcome="info", error="timeout")
    told.submit("a", id="2")
    told.reserve("worker 1", "a", id="1")
    told.reserve("worker 2", "a", id="2")
    told.ack("worker 1", "1")
    told.ack("worker 2", "2")
    told.reserve("worker 3", "a", id="3")
    told.end()
    assert {v.status for v in checkers.judge(told.model())} == {HOLDS, NOT_APPLICABLE}


def test_even_of_a_retried_submit_each_job_has_one_holder() -> None:
    told = Told()
    told.submit("a", outcome="info", error="timeout")
    told.submit("a", id="2")
    told.reserve("worker 1", "a", id="2")
    told.reserve("worker 2", "a", id="2")
    assert told.verdict("exclusive_lease").status == VIOLATED


# done_is_final


def test_a_job_that_comes_back_after_its_ack() -> None:
    told = plain()
    told.reserve("worker 2", "a hello")
    verdict = told.verdict("done_is_final")
    assert (verdict.status, verdict.ops) == (VIOLATED, (4, 5, 6, 7))


def test_it_comes_back_even_after_a_restart() -> None:
    told = plain()
    told.fault("kill", "broker")
    told.broker_ready()
    told.reserve("worker 2", "a hello")
    assert told.verdict("done_is_final").status == VIOLATED


def test_a_request_that_was_under_way_during_the_ack() -> None:
    told = Told(ack_timeout_ms=100)
    told.submit("a")
    told.reserve("worker 1", "a", at=(10, 11))
    told.reserve("worker 2", "a", at=(112, 150))
    told.ack("worker 1", "a", at=(113, 114))
    assert told.verdict("done_is_final").status == HOLDS


@pytest.mark.parametrize("outcome", ["info", "fail", None])
def test_an_ack_that_was_not_answered_ok_ends_nothing(outcome: str | None) -> None:
    told = Told()
    told.submit("a")
    told.reserve("worker 1", "a")
    told.ack("worker 1", "a", outcome=outcome, error="eof")
    told.reserve("worker 2", "a")
    assert told.verdict("done_is_final").status == HOLDS


def second_lease(token: str) -> Told:
    """The same worker gets its job again over the same connection, after the lease ended."""
    told = Told(ack_timeout_ms=100)
    told.submit("a")
    told.reserve("worker 1", "a", token="1", at=(10, 11))
    told.reserve("worker 1", "a", token="2", at=(111, 112))
    told.ack("worker 1", "a", token="2", at=(113, 120))
    told.ack("worker 1", "a", token=token, at=(121, 122))
    return told


def test_two_holders_both_told_ok() -> None:
    assert second_lease(token="1").verdict("done_is_final").status == VIOLATED


def test_repeating_ones_own_ack() -> None:
    assert second_lease(token="2").verdict("done_is_final").status == HOLDS


def test_connections_are_holders_where_there_are_no_tokens() -> None:
    told = Told(ack_timeout_ms=100)
    told.submit("a")
    told.reserve("worker 1", "a", at=(10, 11))
    told.reserve("worker 2", "a", at=(111, 112))
    told.ack("worker 1", "a", at=(113, 114))
    told.ack("worker 2", "a", at=(115, 116))
    verdict = told.verdict("done_is_final")
    assert verdict.summary == "job a: ACKs of worker 1 and worker 2 both answered OK"


# everything_finishes


def stuck() -> Told:
    told = Told(finish_within_ms=1000)
    told.submit("a")
    told.now_ms = 1010
    return told


@pytest.mark.parametrize(("healthy", "expected"), [(True, VIOLATED), (False, UNKNOWN)])
def test_a_job_that_never_finishes(healthy: bool, expected: str) -> None:
    told = stuck()
    told.end(drained=False, healthy=healthy, why="gave up")
    assert told.verdict("everything_finishes").status == expected


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"outcome": "info", "error": "timeout"}, VIOLATED),
        ({"outcome": "fail", "error": "NO"}, VIOLATED),
        ({}, HOLDS),
    ],
    ids=["it answers nobody", "it refuses all", "it confirms"],
)
def test_a_broker_that_serves_nobody(how: dict[str, str], expected: str) -> None:
    told = Told(finish_within_ms=1000)
    told.fault("pause", "broker")
    told.submit("a", **how)
    told.reserve("worker 1", "a", **how)
    told.ack("worker 1", "a", outcome=None)
    told.now_ms = 2000
    told.end(drained=False, why="gave up")
    assert told.verdict("everything_finishes").status == expected


def test_a_run_ended_before_its_time_accuses_nobody() -> None:
    told = stuck()
    told.now_ms = 500
    told.end(drained=False, why="interrupted")
    assert told.verdict("everything_finishes").status == UNKNOWN


def test_a_broker_that_came_back_is_waited_for() -> None:
    told = stuck()
    told.now_ms = 100
    told.exit("broker")
    told.broker_ready()
    told.end(drained=False, why="interrupted")
    assert told.verdict("everything_finishes").status == UNKNOWN


def test_the_clock_starts_when_the_last_fault_is_healed() -> None:
    told = stuck()
    told.fault("kill", "broker")
    told.broker_ready()
    told.reserve("worker 1", "a")
    told.ack("worker 1", "a")
    told.end()
    assert told.verdict("everything_finishes").status == HOLDS


def test_too_late_is_not_finished() -> None:
    told = stuck()
    told.reserve("worker 1", "a")
    told.ack("worker 1", "a")
    told.end()
    assert told.verdict("everything_finishes").status == VIOLATED


def test_a_dead_job_is_finished_and_an_unknown_ack_may_be() -> None:
    told = Told(finish_within_ms=1000)
    told.submit("a")
    told.submit("b")
    told.reserve("worker 1", "b")
    told.ack("worker 1", "b", outcome="info", error="eof")
    told.dead("a")
    told.now_ms = 2000
    told.end(drained=False)
    assert told.verdict("everything_finishes").status == HOLDS


# Strikes and counts


@pytest.mark.parametrize(("verb", "status"), [("file_limit", UNKNOWN), ("kill_on", VIOLATED)])
def test_a_limit_that_was_in_force_to_the_end_may_have_been_met_unseen(verb: str, status: str) -> None:
    told = Told(finish_within_ms=5)
    told.submit("a")
    told.fault(verb, "broker", "begin")
    for _ in range(20):
        told.empty("worker 1")
    told.fault(verb, "broker", "missed")
    told.end(drained=False, why="a fault has not ended")
    assert told.verdict("everything_finishes").status == status


def test_a_strike_knows_which_job_its_victim_held() -> None:
    told = Told()
    told.submit("a")
    told.reserve("worker 1", "a")
    told.fault("pause", "worker 1")
    told.ack("worker 1", "a")
    told.fault("kill", "worker 1", "begin", "missed")
    told.reserve("worker 2", "a")
    told.exit("worker 2")
    told.fault("kill", "worker 2")
    paused, missed, killed = told.model().strikes
    assert (paused.holding, missed.holding, killed.holding) == ("a", None, None)
    assert paused.struck_ns is not None and paused.end_ns is not None
    assert (missed.struck_ns, missed.end_ns, missed.exact) == (None, None, True)


@pytest.mark.parametrize("verb", ["hang", "throttle", "pause"])
def test_a_lasting_fault_strikes_who_holds_a_job_when_it_bites(verb: str) -> None:
    told = Told()
    told.submit("a")
    told.fault(verb, "worker 1", "begin")
    told.reserve("worker 1", "a")
    told.fault(verb, "worker 1", "struck", "end")
    told.ack("worker 1", "a")
    told.end()
    assert told.model().strikes[0].holding == "a"
    assert unproven(told.model()) == []


def test_counts_tell_why_a_job_was_delivered_again() -> None:
    told = Told(ack_timeout_ms=100)
    told.submit("a")
    told.submit("b", outcome="info", error="timeout")
    told.reserve("worker 1", "a")
    told.fault("kill", "worker 1")
    told.reserve("worker 1", "a")
    told.fail("worker 1", "a")
    told.reserve("worker 1", "a")
    told.now_ms += 100
    told.reserve("worker 2", "a")
    told.ack("worker 2", "a")
    told.reserve("worker 2", "b")
    told.ack("worker 2", "b", outcome="info", error="eof")
    told.end()
    expected = {
        "attempted": 2,
        "acknowledged": 1,
        "recovered": 1,
        "duplicated": 1,
        "done": 1,
        "perhaps_done": 1,
        "dead": 0,
        "lost": 0,
        "unexpected": 0,
        "delivered": 5,
        "first": 2,
        "after_fail": 1,
        "after_release": 0,
        "after_crash": 1,
        "after_lapse": 1,
        "after_ack": 0,
        "while_held": 0,
    }
    assert told.model().counts() == expected


def test_counts_tell_of_deliveries_that_have_no_excuse() -> None:
    told = Told()
    told.submit("a")
    told.reserve("worker 1", "a")
    told.reserve("worker 2", "a")
    told.ack("worker 2", "a")
    told.reserve("worker 3", "a")
    told.end()
    counts = told.model().counts()
    assert (counts["first"], counts["while_held"], counts["after_ack"]) == (1, 1, 1)


# The judge


def test_a_checker_that_raises_is_unknown_and_never_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(checker: checkers.NoLostJob, model: Model) -> Verdict:
        raise ZeroDivisionError("by the way")

    monkeypatch.setattr(checkers.NoLostJob, "check", broken)
    verdict = checkers.judge(plain().model())[0]
    assert (verdict.status, verdict.summary) == (
        UNKNOWN,
        "the checker failed: ZeroDivisionError: by the way",
    )


@pytest.mark.parametrize(
    ("statuses", "merged"),
    [
        ([HOLDS, UNKNOWN, VIOLATED], VIOLATED),
        ([HOLDS, UNKNOWN, NOT_APPLICABLE], UNKNOWN),
        ([NOT_APPLICABLE, HOLDS], HOLDS),
        ([NOT_APPLICABLE], NOT_APPLICABLE),
    ],
)
def test_the_worst_that_is_known_decides(statuses: list[str], merged: str) -> None:
    assert merge(Verdict("x", status, "") for status in statuses) == merged


def test_an_empty_history_is_judged_too() -> None:
    assert merge(checkers.judge(Told().model())) == UNKNOWN


def test_verdicts_come_in_a_fixed_order_with_their_rules() -> None:
    names = [verdict.invariant for verdict in checkers.judge(plain().model())]
    assert names == [checker.name for checker in checkers.CHECKERS]
    assert all(checker.rule.endswith(".") and checker.lab for checker in checkers.CHECKERS)


def test_a_lease_counts_from_the_invocation_of_its_request() -> None:
    told = Told(ack_timeout_ms=100)
    told.submit("a")
    told.reserve("worker 1", "a", at=(10, 90))
    delivery = told.model().jobs["a"].deliveries[0]
    assert (delivery.returned_ns, delivery.held_until_ns) == (90 * MS, 110 * MS)


def test_a_run_in_which_every_job_was_refused_proves_nothing() -> None:
    for delay_s, how in ((0, ""), (1, " (asked by PUT, which is none of the four core commands)")):
        told = Told()
        terms = {"delay_s": delay_s} if delay_s else {}
        told.submit("a", outcome="fail", error="ERROR UNKNOWN_COMMAND", **terms)
        told.end()
        assert unproven(told.model()) == [f"none of 1 jobs was taken in: ERROR UNKNOWN_COMMAND{how}"]
    told.submit("b")
    assert unproven(told.model()) == []
