"""What is kept beside the queue: the ledger, the broker's counts and trace, what it used, what it said."""

import pytest
from histories import Told

from dsjq_lab.verdict import HOLDS, NOT_APPLICABLE, VIOLATED

# effect_once


def test_an_effect_written_twice() -> None:
    told = Told()
    told.submit("a")
    told.effect("worker 1", "a")
    told.effect("worker 2", "a")
    told.effect("worker 3", "a")
    verdict = told.verdict("effect_once")
    assert verdict.summary == "job a had its effect twice: once by worker 1, once by worker 2"
    assert (verdict.status, verdict.ops, verdict.count) == (VIOLATED, (2, 3), 1)


def test_an_effect_that_the_ledger_turned_away_is_none() -> None:
    told = Told()
    told.submit("a")
    told.effect("worker 1", "a", kind="idempotent")
    told.effect("worker 2", "a", kind="idempotent", kept=False)
    verdict = told.verdict("effect_once")
    assert (verdict.status, verdict.summary) == (HOLDS, "1 written once, 1 turned away")


def test_two_jobs_of_one_nonce_have_an_effect_each() -> None:
    told = Told()
    told.submit("a", outcome="info", error="timeout")
    told.submit("a", id="2")
    told.effect("worker 1", "a", id="1")
    told.effect("worker 2", "a", id="2")
    assert told.verdict("effect_once").status == HOLDS
    told.effect("worker 3", "a", id="2")
    assert told.verdict("effect_once").status == VIOLATED


def test_work_without_effects_and_fences_without_tokens() -> None:
    told = Told()
    told.submit("a")
    assert told.verdict("effect_once").status == NOT_APPLICABLE
    told.effect("worker 1", "a", kind="fenced")
    told.effect("worker 2", "a", kind="fenced")
    assert told.verdict("effect_once").status == NOT_APPLICABLE
    told.reserve("worker 1", "a", token="1.1")
    assert told.verdict("effect_once").status == VIOLATED


# counts_conserved


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ({"pending": 1, "done": 1}, HOLDS),
        ({"delayed": 1, "dead": 1}, HOLDS),
        ({"pending": 1, "in_flight": 1, "done": 1}, VIOLATED),
        ({"done": 1}, VIOLATED),
    ],
)
def test_states_add_up(states: dict[str, int], expected: str) -> None:
    told = Told()
    told.stats(submitted=2, **states)
    assert told.verdict("counts_conserved").status == expected


def test_a_wrong_sum_is_told() -> None:
    told = Told()
    told.stats(submitted=3, pending=1, done=1)
    verdict = told.verdict("counts_conserved")
    assert (verdict.summary, verdict.job) == ("3 submitted, but 1 pending + 1 done", None)


@pytest.mark.parametrize(("counted", "expected"), [(0, VIOLATED), (1, HOLDS), (2, HOLDS), (3, VIOLATED)])
def test_at_rest_broker_and_clients_agree_on_how_many_jobs_there_were(counted: int, expected: str) -> None:
    told = Told()
    told.submit("a")
    told.submit("b", outcome="info", error="timeout")
    told.submit("c", outcome="fail", error="QUEUE_FULL")
    told.stats(submitted=counted, done=counted)
    told.end()
    assert told.verdict("counts_conserved").status == expected


def test_counts_that_were_asked_for_too_early_or_after_a_death_say_nothing() -> None:
    early = Told()
    early.stats(submitted=0)
    early.submit("a")
    early.end()
    reborn = Told()
    reborn.submit("a")
    reborn.fault("kill", "broker")
    reborn.broker_ready()
    reborn.stats(submitted=0)
    reborn.end()
    assert early.verdict("counts_conserved").status == HOLDS
    assert reborn.verdict("counts_conserved").status == HOLDS


# legal_transitions


def test_a_life_along_the_edges() -> None:
    told = Told()
    told.trace_start()
    told.trace(1, "Submitted", "Delivered", "Touched", "Failed", "Retried", "Delivered", "Requeued")
    told.trace(1, "Delivered", "Died", "Kicked", "Delivered", "Acked")
    told.trace(2, "Delayed", "Matured", "Delivered", "Released")
    verdict = told.verdict("legal_transitions")
    assert (verdict.status, verdict.summary) == (HOLDS, "16 records of 2 jobs")


@pytest.mark.parametrize(
    "records",
    [
        ["Delivered"],
        ["Submitted", "Submitted"],
        ["Submitted", "Acked"],
        ["Submitted", "Delivered", "Delivered"],
        ["Submitted", "Delivered", "Acked", "Requeued"],
        ["Submitted", "Delivered", "Failed", "Delivered"],
        ["Submitted", "Vanished"],
    ],
    ids=" ".join,
)
def test_an_edge_that_the_table_lacks(records: list[str]) -> None:
    told = Told()
    told.trace_start()
    told.trace(1, *records)
    told.trace(2, "Submitted")
    verdict = told.verdict("legal_transitions")
    assert (verdict.status, verdict.count) == (VIOLATED, 1)
    assert f"was {records[-1]}" in verdict.summary


def test_a_broker_that_starts_again_goes_on_or_begins_anew() -> None:
    told = Told()
    told.trace_start()
    told.trace(1, "Submitted", "Delivered")
    told.trace(2, "Submitted")
    told.trace_start()
    told.trace(1, "Delivered")  # it was put back when the journal was read
    told.trace(2, "Submitted")  # this one begins with an empty memory
    assert told.verdict("legal_transitions").status == HOLDS
    told.trace(3, "Acked")  # of this one nobody ever heard
    told.trace(1, "Delivered")
    assert told.verdict("legal_transitions").count == 2


def test_a_job_that_was_kept_need_not_have_been_told_of_before() -> None:
    """A broker may be killed when it has recorded a job, and before it has told so."""
    told = Told()
    told.trace_start(1)
    told.trace(1, "Delivered", "Acked")
    assert told.verdict("legal_transitions").status == HOLDS
    told.trace(2, "Delivered")
    assert told.verdict("legal_transitions").count == 1


def test_the_trace_keeps_its_own_order() -> None:
    told = Told()
    told.trace_start()
    told.trace(1, "Submitted", "Delivered")
    told.ops = [op._replace(time_ns=0) if op.f == "record" else op for op in told.ops]
    told.ops.sort(key=lambda op: -op.index)
    assert told.verdict("legal_transitions").status == HOLDS


def test_without_a_trace_there_is_nothing_to_judge() -> None:
    assert Told().verdict("legal_transitions").status == NOT_APPLICABLE


# replies_match


@pytest.mark.parametrize(("error", "expected"), [
    ("garbage: EMPTY", VIOLATED), ("extra: JOB 7 x", VIOLATED), ("timeout", HOLDS), ("eof", HOLDS),
])  # fmt: skip
def test_replies_that_nobody_asked_for(error: str, expected: str) -> None:
    told = Told()
    told.submit("a", outcome="info", error=error)
    assert told.verdict("replies_match").status == expected


@pytest.mark.parametrize(("greeting", "expected"), [
    ("OK", HOLDS), ("ERROR UNKNOWN_COMMAND", HOLDS), (None, HOLDS), ("WELCOME", VIOLATED), ("", VIOLATED),
])  # fmt: skip
def test_a_greeting_is_answered_or_refused(greeting: str | None, expected: str) -> None:
    told = Told()
    told.connect("worker 1", greeting=greeting)
    assert told.verdict("replies_match").status == expected


def test_a_broken_reply_is_quoted() -> None:
    told = Told()
    told.submit("a")
    told.reserve("worker 1", "a")
    told.ack("worker 1", "a", outcome="info", error="garbage: EMPTY")
    told.connect("worker 1", greeting="WELCOME")
    verdict = told.verdict("replies_match")
    assert (verdict.summary, verdict.count) == ("worker 1 asked ACK: garbage: EMPTY", 2)


# no_leak


def churn(connections: int, threads: int, descriptors: int = 9, at_once: int = 2) -> Told:
    """So many connections come and go, two at a time; then the broker has so many threads more than five."""
    told = Told()
    told.broker_ready()
    told.resources("ready")
    for number in range(connections):
        told.connect(f"worker {number}")
        if number >= at_once - 1:
            told.exit(f"worker {number - at_once + 1}", planned=True)
    for number in range(connections - at_once + 1, connections):
        told.exit(f"worker {number}", planned=True)
    told.resources("end", threads=5 + threads, descriptors=descriptors)
    return told


@pytest.mark.parametrize(
    ("connections", "threads", "descriptors", "expected"),
    [
        (12, 0, 9, HOLDS),
        (12, 6, 9, HOLDS),  # as many as were open at once, and a few: it may be a pool
        (12, 7, 9, VIOLATED),
        (12, 0, 16, VIOLATED),
        (11, 11, 20, NOT_APPLICABLE),
    ],
)
def test_what_connections_used_is_given_back(
    connections: int, threads: int, descriptors: int, expected: str
) -> None:
    told = churn(connections, threads, descriptors)
    assert told.verdict("no_leak").status == expected


def test_a_leak_is_told_in_numbers() -> None:
    told = churn(20, 20)
    assert told.verdict("no_leak").summary == (
        "20 threads more than at the start, after 20 connections had come and gone"
    )
    assert churn(20, 1).verdict("no_leak").summary == "+1 threads and +0 descriptors after 20 connections"


def test_a_broker_that_was_born_again_has_leaked_nothing_yet() -> None:
    told = churn(20, 20)
    told.broker_ready()
    told.resources("ready")
    told.resources("end", threads=40)
    assert told.verdict("no_leak").status == NOT_APPLICABLE
    assert Told().verdict("no_leak").status == NOT_APPLICABLE
