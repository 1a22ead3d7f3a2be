"""A violation is explained by the story of its job, or by what was seen: short, and with its proof marked."""

from collections.abc import Callable

import pytest
from histories import Told

from dsjq_lab.checkers import CHECKERS
from dsjq_lab.report.explain import LINES_MAX, WRONG, chosen, explain
from dsjq_lab.verdict import VIOLATED


def told_up_to_the_delivery(**promises: int | None) -> Told:
    told = Told(ack_timeout_ms=100, **promises)
    told.submit("a")
    told.reserve("worker 1", "a", id="7", token="1.1", attempt=1, at=(10, 11))
    return told


def no_lost_job(told: Told) -> None:
    told.fault("kill", "worker 1")


def no_unexpected_job(told: Told) -> None:
    told.reserve("worker 2", "ghost")


def payload_intact(told: Told) -> None:
    told.reserve("worker 2", "a b", id="7", at=(200, 201))


def exclusive_lease(told: Told) -> None:
    told.reserve("worker 2", "a", id="7", at=(20, 21))


def done_is_final(told: Told) -> None:
    told.ack("worker 1", "7", at=(20, 21))
    told.reserve("worker 2", "a", id="7", at=(22, 23))


def no_stale_ack(told: Told) -> None:
    told.fault("pause", "worker 1", "begin", "struck")
    told.reserve("worker 2", "a", id="7", token="1.2", attempt=2, at=(200, 201))
    told.fault("pause", "worker 1", "end")
    told.ack("worker 1", "7", at=(210, 211))


def late_ack_refused(told: Told) -> None:
    told.touch("worker 1", "7", at=(50, 51))
    told.ack("worker 1", "7", at=(152, 153))


def effect_once(told: Told) -> None:
    told.effect("worker 1", "a")
    told.effect("worker 2", "a")


def redelivered_in_time(told: Told) -> None:
    told.fail("worker 1", "7", at=(20, 21))
    told.empty("worker 2", at=(22, 23))


def attempts_increase(told: Told) -> None:
    told.reserve("worker 2", "a", id="7", token="1.1", attempt=1, at=(200, 201))


def dead_letter_at_limit(told: Told) -> None:
    told.dead("a")
    told.kick("a")


def fifo(told: Told) -> None:
    told.submit("b")
    told.submit("c")
    told.reserve("worker 2", "c", token="1.3", attempt=1)
    told.reserve("worker 3", "b", token="1.4", attempt=1)


def requeue_keeps_position(told: Told) -> None:
    told.submit("b", at=(12, 13))
    told.fail("worker 1", "7", at=(20, 21))
    told.reserve("worker 2", "b", token="1.2", attempt=1, at=(22, 23))
    told.reserve("worker 3", "a", id="7", token="1.3", attempt=2, at=(24, 25))


def urgent_first(told: Told) -> None:
    told.submit("urgent", priority=-1)
    for number in range(2):
        told.submit(f"usual{number}")
        told.reserve("worker 2", f"usual{number}", token=f"1.{number + 2}", attempt=1)
    told.reserve("worker 2", "urgent", token="1.20", attempt=1)


def no_starvation(told: Told) -> None:
    told.submit("old")
    for number in range(10):
        told.submit(f"urgent{number}", priority=-1)
        told.reserve("worker 2", f"urgent{number}", token=f"1.{number + 2}", attempt=1)
    told.reserve("worker 2", "old", token="1.20", attempt=1)


def not_early(told: Told) -> None:
    told.submit("b", delay_s=1.0)
    told.reserve("worker 2", "b")


def deduplicated(told: Told) -> None:
    told.submit("b", id="8", key="k")
    told.submit("b", id="9", key="k")


def no_success_after_fsync_error(told: Told) -> None:
    told.header = told.header._replace(durable=True)
    told.ack("worker 1", "7", at=(20, 60))
    told.now_ms = 40
    told.failed_sync(covers_from_ms=15)


def everything_finishes(told: Told) -> None:
    told.now_ms = 2000


def counts_conserved(told: Told) -> None:
    told.stats(submitted=2, pending=1)


def legal_transitions(told: Told) -> None:
    told.trace(7, "Submitted", "Acked")


def no_leak(told: Told) -> None:
    told.broker_ready()
    told.resources("ready")
    for number in range(20):
        told.connect(f"worker {number}")
        told.exit(f"worker {number}", planned=True)
    told.resources("end", threads=40)


def replies_match(told: Told) -> None:
    told.connect("worker 2", greeting="WELCOME")


def strangers_refused(told: Told) -> None:
    told.intrude("STATS", "STATS {}")


def routed_right(told: Told) -> None:
    told.bind("publisher 1", errors=["*.error"])
    told.publish("publisher 1", "p.1", "kernel.info", "8")


STORIES: dict[str, Callable[[Told], None]] = {
    story.__name__: story
    for story in (
        no_lost_job, no_unexpected_job, payload_intact, exclusive_lease, done_is_final, no_stale_ack,
        late_ack_refused, effect_once, redelivered_in_time, attempts_increase, dead_letter_at_limit, fifo,
        requeue_keeps_position, urgent_first, no_starvation, not_early, deduplicated,
        no_success_after_fsync_error,
        everything_finishes, counts_conserved, legal_transitions, no_leak, replies_match,
        strangers_refused, routed_right,
    )
}  # fmt: skip


@pytest.mark.parametrize("invariant", [checker.name for checker in CHECKERS])
def test_every_violation_marks_its_proof_and_says_what_is_wrong(invariant: str) -> None:
    told = told_up_to_the_delivery()
    STORIES[invariant](told)
    told.end()
    verdict = told.verdict(invariant)
    assert verdict.status == VIOLATED
    lines = list(explain(verdict, told.model()))
    assert lines[0].startswith(("What happened to job ", "What was seen", "1 of 1 jobs are not done"))
    marked = [line for line in lines if "<--" in line]
    assert marked and marked[-1].endswith(f"<-- {WRONG[invariant]}")


def test_the_story_of_a_zombie() -> None:
    told = told_up_to_the_delivery()
    no_stale_ack(told)
    told.effect("worker 2", "a")
    told.end()
    assert list(explain(told.verdict("no_stale_ack"), told.model())) == [
        "What happened to job a (the broker's 7)",
        "    0.001 s  producer 1  SUBMIT -> JOB_ID a",
        "    0.011 s  worker 1    RESERVE -> JOB 7  attempt 1  <--",
        "    0.013 s  ! fault     worker 1 paused  (exact)",
        "    0.111 s  clock       worker 1's lease is over by now",
        "    0.201 s  worker 2    RESERVE -> JOB 7  attempt 2  <--",
        "    0.202 s  ! fault     worker 1 resumed",
        "    0.211 s  worker 1    ACK 7 -> OK  <-- must not be: the job had become another's",
        "    0.212 s  ledger      effect of worker 2 written",
        "    0.213 s  lab         the run ends, the job is done",
    ]


def test_a_lease_ends_later_where_it_was_renewed() -> None:
    told = told_up_to_the_delivery()
    late_ack_refused(told)
    told.end()
    lines = "\n".join(explain(told.verdict("late_ack_refused"), told.model()))
    assert "0.051 s  worker 1    TOUCH 7 -> OK" in lines
    assert "0.151 s  clock       worker 1's lease is over by now" in lines


def test_the_other_job_of_an_overtaking_is_told_too() -> None:
    told = told_up_to_the_delivery()
    fifo(told)
    lines = "\n".join(explain(told.verdict("fifo"), told.model()))
    assert "SUBMIT -> JOB_ID c, which is job c  <--" in lines
    assert "REQUEST -> JOB c, which is job c  <--" in lines


def test_a_long_story_is_cut_to_a_dozen_lines() -> None:
    for limit, invariant in ((2, "dead_letter_at_limit"), (None, "no_lost_job")):
        told = told_up_to_the_delivery(max_attempts=limit)
        for _ in range(40):
            told.fail("worker 1", "7")
            told.reserve("worker 1", "a", id="7")
        told.end()
        story = list(explain(told.verdict(invariant), told.model()))[1:]
        assert LINES_MAX - 3 <= len(story) <= LINES_MAX


@pytest.mark.parametrize("room", [-5, 0, 1, 2])
@pytest.mark.parametrize("events", [0, 1, 5])
def test_where_there_is_hardly_any_room_the_story_still_ends_with_its_proof(events: int, room: int) -> None:
    proof = [events - 1] if events else []
    told = chosen(events, proof, room)
    assert told == sorted(set(told)) and set(told) <= set(range(events)) and set(proof) <= set(told)
