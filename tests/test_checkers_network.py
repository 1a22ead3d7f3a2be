"""What a bad network excuses, and what it does not: histories that must be accepted, and their neighbours."""
import pytest
from histories import Told

from dsjq_lab.verdict import HOLDS, VIOLATED


def status(told: Told, invariant: str) -> str:
    told.end()
    return told.verdict(invariant).status


@pytest.mark.parametrize(("verb", "victim", "expected"), [
    ("partition", "worker 1", HOLDS),  # the broker cannot know that worker 1 has hung up
    ("half_open", "broker", HOLDS),
    ("partition", "worker 2", VIOLATED),  # another's link
    ("pause", "worker 1", VIOLATED),  # no matter of the network
    ("", "", VIOLATED),
])
def test_a_broker_need_not_know_what_could_not_reach_it(verb, victim, expected):
    told = Told(ack_timeout_ms=1000, tolerance_ms=10)
    told.submit("a")
    told.reserve("worker 1", "a")
    if verb:
        told.fault(verb, victim, "begin", "struck")
    told.close("worker 1")
    told.empty("worker 1")
    told.now_ms += 50
    told.empty("worker 3")
    if verb:
        told.fault(verb, victim, "end")
    assert status(told, "redelivered_in_time") == expected


@pytest.mark.parametrize(("victim", "phases", "expected"), [
    ("worker 1", ("begin", "struck", "end"), VIOLATED),  # the lab itself has torn the connection
    ("broker", ("begin", "struck", "end"), VIOLATED),
    ("worker 1", ("begin",), HOLDS),  # not yet
    ("worker 2", ("begin", "struck", "end"), HOLDS),  # another's: worker 1 is at work
])
def test_a_reset_is_known_though_the_worker_has_not_noticed(victim, phases, expected):
    told = Told(ack_timeout_ms=1000, tolerance_ms=10)
    told.submit("a")
    told.reserve("worker 1", "a")
    told.fault("reset", victim, *phases)
    told.now_ms += 50
    told.empty("worker 3")
    told.ack("worker 1", "a", outcome="info", error="reset")
    assert status(told, "redelivered_in_time") == expected


def test_a_reset_may_have_missed_a_connection_that_is_new():
    told = Told(ack_timeout_ms=1000, tolerance_ms=10)
    told.submit("a")
    told.connect("worker 1")
    told.fault("reset", "worker 1")  # of the one before
    told.reserve("worker 1", "a")
    told.now_ms += 50
    told.empty("worker 3")
    told.ack("worker 1", "a")
    assert status(told, "redelivered_in_time") == HOLDS


def test_when_the_network_is_well_again_it_must_know():
    told = Told(ack_timeout_ms=1000, tolerance_ms=10)
    told.submit("a")
    told.reserve("worker 1", "a")
    told.fault("partition", "worker 1", "begin", "struck")
    told.close("worker 1")
    told.empty("worker 1")
    told.fault("partition", "worker 1", "end")
    told.now_ms += 50
    told.empty("worker 3")
    assert status(told, "redelivered_in_time") == VIOLATED


@pytest.mark.parametrize(("verb", "expected"), [
    ("reset", HOLDS), ("cut", HOLDS), ("half_open", HOLDS), ("partition", HOLDS), ("corrupt", HOLDS),
    ("latency", VIOLATED), ("slice", VIOLATED), ("lose_reply", VIOLATED),  # these end no connection
])
def test_a_hold_is_certain_until_its_connection_may_have_ended(verb, expected):
    told = Told(ack_timeout_ms=1000)
    told.submit("a")
    told.reserve("worker 1", "a")
    told.fault(verb, "worker 1")
    told.reserve("worker 2", "a")
    told.ack("worker 1", "a", outcome="info", error="timeout")
    assert status(told, "exclusive_lease") == expected


def test_a_job_is_not_taken_from_one_because_anothers_link_broke():
    told = Told(ack_timeout_ms=1000)
    told.submit("a")
    told.reserve("worker 1", "a")
    told.fault("reset", "worker 2")
    told.reserve("worker 2", "a")
    assert status(told, "exclusive_lease") == VIOLATED


@pytest.mark.parametrize(("verb", "victim", "expected"), [
    ("corrupt", "worker 1", HOLDS), ("corrupt", "broker", HOLDS),
    ("corrupt", "worker 2", VIOLATED), ("slice", "worker 1", VIOLATED),
])
def test_garbage_accuses_the_broker_only_where_no_bit_was_flipped(verb, victim, expected):
    told = Told()
    told.submit("a")
    told.fault(verb, victim, "begin", "struck")
    told.reserve("worker 1", "a", outcome="info", error="garbage: \\xcaOB")
    told.fault(verb, victim, "end")
    assert status(told, "replies_match") == expected


@pytest.mark.parametrize(("verb", "expected"), [("partition", HOLDS), ("pause", VIOLATED)])
def test_a_question_that_was_held_on_the_way_may_still_take_a_job(verb, expected):
    told = Told(ack_timeout_ms=1000, tolerance_ms=10)
    told.submit("a")
    told.fault(verb, "worker 1", "begin", "struck")
    told.reserve("worker 1", "", outcome="info", error="timeout")
    told.reconnect("worker 1")
    told.connect("worker 1", outcome="fail", error="UNREACHABLE timeout")
    told.reserve("worker 2", "a")
    told.close("worker 2")
    told.empty("worker 2")
    told.now_ms += 50
    told.empty("worker 3")  # it may have gone to worker 1, who did not hear of it
    told.fault(verb, "worker 1", "end")
    assert status(told, "redelivered_in_time") == expected


@pytest.mark.parametrize("f", ["submit", "reserve"])
def test_an_answer_that_was_lost_leaves_both_ways_open(f):
    """A job whose JOB_ID was lost may turn up, or never be heard of; one whose JOB was lost comes back."""
    told = Told(ack_timeout_ms=100, tolerance_ms=10)
    told.fault("lose_reply", "producer 1" if f == "submit" else "worker 1")
    told.submit("a", outcome="info" if f == "submit" else "ok", error="timeout" if f == "submit" else None)
    if f == "reserve":
        told.reserve("worker 1", "a", outcome="info", error="timeout")
        told.reconnect("worker 1")
        told.reserve("worker 2", "a", attempt=2, token="1.2")
        told.ack("worker 2", "a")
    told.end()
    assert not [verdict for verdict in told.verdicts() if verdict.status == VIOLATED]
