"""The judge against histories whose truth is known: of a queue right by construction, and of wrong ones.

Hypothesis makes the plans, and makes them smaller until only what matters is left. The long form, ten
thousand of them, is `python -m bench histories`.
"""

import random

import pytest
from generated_histories import Plan, excused, generate, plan, plan_by_lot
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_queue import BUGS, Bug, Queue

from dsjq_lab.checkers import judge
from dsjq_lab.model import Model
from dsjq_lab.verdict import VIOLATED

EXAMPLES = 200
HISTORIES_FOR_A_BUG = 20


def accused_of(plan: Plan, queue: type[Queue] = Queue) -> set[str]:
    """What is violated though it was promised; a checker that failed counts."""
    verdicts = judge(Model(generate(plan, queue)))
    failed = {verdict.invariant for verdict in verdicts if "the checker failed" in verdict.summary}
    violated = {verdict.invariant for verdict in verdicts if verdict.status == VIOLATED}
    return failed | violated - excused(plan)


@settings(max_examples=EXAMPLES, deadline=None, database=None)
@given(st.randoms(use_true_random=False).map(plan_by_lot))
def test_a_correct_queue_is_never_accused(plan: Plan) -> None:
    assert accused_of(plan) == set()


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.queue.__name__)
def test_a_bug_is_found(bug: Bug) -> None:
    found: set[str] = set()
    seeds = iter(range(HISTORIES_FOR_A_BUG))
    while not found & bug.caught_by and (seed := next(seeds, None)) is not None:
        found |= accused_of(plan(seed)._replace(**bug.needs), bug.queue)
    assert found & bug.caught_by


def test_a_plan_is_all_that_a_history_depends_on() -> None:
    assert generate(plan(7)) == generate(plan_by_lot(random.Random("plan 7")))
    assert generate(plan(7)) != generate(plan(8))


def test_the_world_has_what_makes_judging_hard() -> None:
    """Lest the simulation be tame: everything that excuses a broker happens, and often."""
    ops = [op for seed in range(100) for op in generate(plan(seed)).ops]
    seen = {(op.type, op.f) for op in ops}
    for f in ("submit", "reserve", "ack", "fail", "release", "touch", "stats"):
        assert {("ok", f), ("info", f)} <= seen, f
    assert {("fail", f) for f in ("submit", "ack", "fail", "connect", "effect")} <= seen
    assert {("ok", f) for f in ("dead", "kick", "effect")} <= seen
    assert {("info", f) for f in ("close", "exit", "broker_ready", "resources", "record")} <= seen
    assert {op.error for op in ops if op.type == "info" and op.error} == {"timeout", "eof", "reset"}
    assert {op.f for op in ops if op.process == "nemesis"} == {
        "kill", "pause", "term", "power_loss", "fsync_error",
    }  # fmt: skip
    terms = {"key", "delay_s", "priority"}
    assert terms <= {term for op in ops if op.f == "submit" for term in op.value}
