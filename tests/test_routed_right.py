"""Copies in the lab: a publisher's history that must be accepted, and those that must not."""
from collections.abc import Callable

import pytest
from histories import Told
from hypothesis import given
from playing import ROOT, ending, ops_of
from test_routing import keys, naive, patterns, quick, split

from dsjq_lab import runs
from dsjq_lab.brokers import under_study
from dsjq_lab.checkers.routed_right import matches
from dsjq_lab.results import judged
from dsjq_lab.variation import Variation
from dsjq_lab.verdict import HOLDS, NOT_APPLICABLE, VIOLATED

STORY = ROOT / "scenarios" / "topic_fanout.yaml"
ME = "publisher 1"


@quick
@given(patterns, keys)
def test_the_judge_matches_as_it_is_told(pattern: str, key: str) -> None:
    assert matches(pattern, key) == naive(split(pattern), split(key))


def told(story: Callable[[Told], None] = lambda told: None, durable: bool = True) -> Told:
    """`all` and `a` get what has key a.x; `b` does not."""
    told = Told(durable=durable)
    told.bind(ME, all=["#"], a=["a.#", "a.*"], b=["b"])
    story(told)
    told.end()
    return told


def good(told: Told) -> None:
    told.publish(ME, "p.1", "a.x", "1", "2")
    told.take(ME, "all", "p.1", "1")
    told.take(ME, "all")
    told.take(ME, "a", "p.1", "2")
    told.take(ME, "a", "p.1", "2")  # again: at least once
    told.take(ME, "a")
    told.take(ME, "b")


def untold(told: Told) -> None:
    told.publish(ME, "p.1", "a.x")  # confirmed, and nobody says how many copies there are
    told.publish(ME, "p.2", "b")
    told.take(ME, "all", "p.1", "p.1")
    told.take(ME, "all", "p.1", "p.1")
    told.taken(ME, "all", "p.1")
    told.take(ME, "all", "p.2", "p.2")
    told.taken(ME, "all", "p.2", outcome="info", error="eof")
    told.take(ME, "all", "p.2", "p.2")


def after_a_death(told: Told) -> None:
    told.publish(ME, "p.1", "a.x")
    told.take(ME, "a", "p.1", "p.1")
    told.taken(ME, "a", "p.1")
    told.fault("kill", "broker")
    told.broker_ready()
    told.take(ME, "a", "p.1", "p.1")


def in_doubt(told: Told) -> None:
    told.publish(ME, "p.1", "a.x", outcome="info", error="eof")
    told.take(ME, "all", "p.1", "1")
    told.take(ME, "a")  # it may not have been there yet
    told.publish(ME, "p.2", "a.x", "3", "4")
    told.take(ME, "all", outcome="info", error="eof")  # and this may have been lost
    told.take(ME, "all")


def refused(told: Told) -> None:
    told.publish(ME, "p.1", "a.x", outcome="fail", error="ERROR QUEUE_FULL")
    told.take(ME, "all")


def forgotten(told: Told) -> None:
    told.publish(ME, "p.1", "a.x", outcome="fail", error="ERROR NO_SUCH_EXCHANGE p")


def too_many(told: Told) -> None:
    told.publish(ME, "p.1", "a.x", "1", "2", "3")


def none_told(told: Told) -> None:
    told.publish(ME, "p.1", "a.x", outcome="fail", error="ERROR UNROUTABLE no")


def astray(told: Told) -> None:
    told.publish(ME, "p.1", "a.x", "1", "2")
    told.take(ME, "b", "p.1", "1")


def twice(told: Told) -> None:
    told.publish(ME, "p.1", "a.x", "1", "2")
    told.take(ME, "a", "p.1", "1")
    told.take(ME, "a", "p.1", "2")


def missing(told: Told) -> None:
    told.publish(ME, "p.1", "a.x", "1", "2")
    told.take(ME, "a")


def missing_untold(told: Told) -> None:
    told.publish(ME, "p.1", "a.x")
    told.take(ME, "a")


def nowhere(told: Told) -> None:
    told.bind(ME, b=["b"])
    told.publish(ME, "p.1", "a.x")


def once_more(told: Told) -> None:
    told.publish(ME, "p.1", "a.x")
    told.take(ME, "a", "p.1", "p.1")
    told.taken(ME, "a", "p.1")
    told.take(ME, "a", "p.1", "p.1")


def invented(told: Told) -> None:
    told.take(ME, "a", "p.9", "1")


def refused_and_there(told: Told) -> None:
    told.publish(ME, "p.1", "a.x", outcome="fail", error="ERROR STORAGE")
    told.take(ME, "a", "p.1", "1")


@pytest.mark.parametrize("story", [good, untold, after_a_death, in_doubt, refused])
def test_what_is_right_or_in_doubt_is_accused_of_nothing(story: Callable[[Told], None]) -> None:
    assert told(story).verdict("routed_right").status == HOLDS


@pytest.mark.parametrize(("story", "summary"), [
    (too_many, "p.1, key 'a.x': 3 copies, and the bindings lead to 2 queues"),
    (none_told, "p.1, key 'a.x': unroutable, and the bindings lead to 2 queues"),
    (astray, "p.1 came to b, but no binding leads key 'a.x' there"),
    (twice, "p.1 came to a twice: 1 and 2"),
    (missing, "p.1 did not come to a"),
    (missing_untold, "p.1 did not come to a"),
    (nowhere, "p.1, key 'a.x': routed, and the bindings lead to 0 queues"),
    (once_more, "p.1 came to a after its ACK was answered OK"),
    (invented, "p.9 came to a, and was never published"),
    (forgotten, "what was bound is forgotten: ERROR NO_SUCH_EXCHANGE p"),
    (refused_and_there, "p.1 came to a, but was refused"),
])  # fmt: skip
def test_what_is_wrong_is_named(story: Callable[[Told], None], summary: str) -> None:
    def after_another(told: Told) -> None:
        told.publish(ME, "p.0", "b", "8", "9")
        story(told)

    verdict = told(after_another).verdict("routed_right")
    assert (verdict.status, verdict.summary) == (VIOLATED, summary)


def test_who_keeps_nothing_may_forget_what_was_bound() -> None:
    def after_another(told: Told) -> None:
        told.publish(ME, "p.0", "b", "8", "9")
        forgotten(told)

    assert told(after_another, durable=False).verdict("routed_right").status == HOLDS


def test_who_knows_no_exchanges_is_not_asked() -> None:
    assert told().verdict("routed_right").status == NOT_APPLICABLE
    assert Told().verdict("routed_right").status == NOT_APPLICABLE


def test_publishers_publish_while_others_work() -> None:
    variation = Variation(("faults=[]", "load.jobs=10"))
    folder = runs.play(STORY, broker=under_study(None, None), variation=variation)
    verdicts = {ruling.verdict.invariant: ruling.verdict for ruling in judged(folder).rulings}
    assert ending(ops_of(folder))["drained"]
    assert verdicts["routed_right"].status == verdicts["legal_transitions"].status == HOLDS
