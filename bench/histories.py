"""False alarms in histories of a correct queue, and how many it takes to find each bug of a wrong one.

    python -m bench histories --count 10000

A plan is a number: `generate(plan(N))` in tests/generated_histories.py makes the history again.
"""
import argparse
import itertools
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from dsjq_lab.checkers import judge
from dsjq_lab.model import Model
from dsjq_lab.verdict import VIOLATED

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from generated_histories import excused, generate, plan
from simulated_queue import BUGS, Bug

PATIENCE = 200


def judged(number: int) -> tuple[int, int, list[tuple[str, str, str]]]:
    """Of a correct queue: the number, how many operations, and the verdicts: invariant, status, summary."""
    history = generate(plan(number))
    verdicts = [(v.invariant, v.status, v.summary) for v in judge(Model(history))]
    excuses = excused(plan(number))
    return number, len(history.ops), [v for v in verdicts if v[0] not in excuses]


def histories_to_find(bug: Bug) -> int | None:
    """How many it took until the right invariant was violated; None: too many."""
    for number in range(PATIENCE):
        verdicts = judge(Model(generate(plan(number)._replace(**bug.needs), bug.queue)))
        if bug.caught_by & {v.invariant for v in verdicts if v.status == VIOLATED}:
            return number + 1
    return None


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench histories", description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first plan")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args(argv)
    start, ops, alarms, statuses = time.monotonic(), 0, 0, Counter[tuple[str, str]]()
    numbers = range(options.first, options.first + options.count)
    with ProcessPoolExecutor(options.jobs) as pool:
        for number, length, verdicts in pool.map(judged, numbers, chunksize=16):
            ops += length
            for invariant, status, summary in verdicts:
                statuses[invariant, status] += 1
                if status == VIOLATED or "the checker failed" in summary:
                    alarms += 1
                    print(f"FALSE ALARM  plan {number}  {invariant}: {summary}", flush=True)
        print(f"{options.count} histories, {ops} operations, {alarms} false alarms, "
              f"{time.monotonic() - start:.0f} s")
        for invariant, group in itertools.groupby(sorted(statuses), key=lambda key: key[0]):
            print(f"  {invariant:24}", ", ".join(f"{statuses[key]} {key[1]}" for key in group))
        found = list(pool.map(histories_to_find, BUGS))
    for bug, number in zip(BUGS, found, strict=True):
        print(f"  {bug.queue.__name__:24} found after {number} by {' or '.join(sorted(bug.caught_by))}")
    return int(alarms > 0 or None in found)
