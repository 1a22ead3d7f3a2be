"""Build your own broker: each stage's solution earns all of its points, and the solution before it does not.

    python -m bench stages            all stages, about two minutes
    python -m bench stages 3 4        these
    python -m bench stages --times 20 is a score a matter of luck?
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from dsjq_lab.brokers import Command
from dsjq_lab.grading import exercise, judge
from dsjq_lab.grading.results import PASSED, Mark

ROOT = Path(__file__).parents[1]
SOLUTIONS = ROOT / "tests" / "solutions"
STAGES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
OPTIONS = "--port {port} --max-attempts {max_attempts} --ack-timeout {ack_timeout} --data {data}"
ONLY_IN = {9: " --max-jobs 3", 12: f" --users {SOLUTIONS / 'users.txt'}"}
JAVASCRIPT = {1: 1, 2: 2, 3: 2, 4: 4}  # which file solves which stage: node has nothing to lock


def solution(stage: int, command_of: int, language: str = "py") -> Command:
    """That program, started as another stage's page says."""
    program = f"{sys.executable} {SOLUTIONS}/stage{stage:02}.py"
    if language == "js":
        program = f"node {SOLUTIONS}/stage{JAVASCRIPT[stage]:02}.js"
    return Command(f"{program} {OPTIONS}{ONLY_IN.get(command_of, '')}")


def before(stage: int) -> int:
    return max(other for other in STAGES if other < stage)


def checks(stage: int) -> list[exercise.Asked]:
    return exercise.load(next((ROOT / "exercises" / "build").glob(f"{stage:02}-*"))).checks


def marks(stage: int, broker: Command) -> Iterator[Mark]:
    """Of all checks that this kind of program can be asked."""
    for asked in checks(stage):
        if asked.check.kind != "explore" or judge.can_be_explored(broker):
            yield judge.judge(asked, broker)


def earned_all(stage: int, language: str) -> bool:
    wrong = [mark for mark in marks(stage, solution(stage, stage, language)) if mark.verdict != PASSED]
    for mark in wrong:
        print(f"       {mark.name}: {mark.verdict}\n{mark.evidence}")
    return not wrong


def missed(stage: int) -> Mark | None:
    """What the solution of the stage before fails in."""
    found = marks(stage, solution(before(stage), stage))
    return next((mark for mark in found if mark.verdict == "failed"), None)


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench stages", description=__doc__.partition("\n")[0])
    parser.add_argument("stages", nargs="*", type=int, help="all, if none is said")
    parser.add_argument("--times", type=int, default=1, help="how often each solution is graded")
    args = parser.parse_args(words)
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DSJQ_RUNS"] = folder
        for stage in args.stages or STAGES:
            for language in ("py", "js") if stage in JAVASCRIPT else ("py",):
                started_s = time.monotonic()
                full = sum(earned_all(stage, language) for _ in range(args.times))
                took_s = (time.monotonic() - started_s) / args.times
                wrong += full != args.times
                told = f"full marks {full} of {args.times}, {took_s:.1f} s each"
                print(f"{stage:2} {language}  {told}", flush=True)
            if stage > STAGES[0]:
                mark = missed(stage)
                wrong += mark is None
                said = f"fails: {mark.name}" if mark else "PASSES, AND MUST NOT"
                print(f"       solution {before(stage)} {said}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
