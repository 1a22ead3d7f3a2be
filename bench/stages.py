"""Build your own broker: each stage's solution earns all of its points, and the solution before it does not.

    python -m bench stages                              all stages, about two minutes
    python -m bench stages 3 4                          these
    python -m bench stages --times 20 --book F          is a score a matter of luck? F is what is done
"""

import argparse
import itertools
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench._book import Found, Unit, measured
from dsjq_lab.brokers import Command
from dsjq_lab.grading import exercise, judge
from dsjq_lab.grading.results import FAILED, PASSED, Mark

ROOT = Path(__file__).parents[1]
SOLUTIONS = ROOT / "tests" / "solutions"
STAGES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
OPTIONS = "--port {port} --max-attempts {max_attempts} --ack-timeout {ack_timeout} --data {data}"
ONLY_IN = {9: " --max-jobs 3", 12: f" --users {SOLUTIONS / 'users.txt'}"}
OWN, BEFORE = "own", "before"
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


def measure(stage: int, language: str, what: str, time_nr: int) -> Found:
    """What a solution misses in its own stage; or the one before it, at first, in this one."""
    started_s = time.monotonic()
    broker = solution(stage if what == OWN else before(stage), stage, language)
    found = marks(stage, broker)
    missed = [mark for mark in found if mark.verdict != PASSED] if what == OWN else first_failure(found)
    told = [f"{mark.name}: {mark.verdict}\n{mark.evidence}" for mark in missed]
    return {"missed": told, "names": [mark.name for mark in missed],
            "seconds": round(time.monotonic() - started_s, 1)}  # fmt: skip


def first_failure(found: Iterator[Mark]) -> list[Mark]:
    return list(itertools.islice((mark for mark in found if mark.verdict == FAILED), 1))


def units(stages: Sequence[int], times: int) -> list[Unit]:
    """The one before is no solution once, and in JavaScript where it is another program."""
    found: list[Unit] = []
    for stage in stages:
        for language in ("py", "js") if stage in JAVASCRIPT else ("py",):
            found += [(stage, language, OWN, number) for number in range(times)]
            is_another = stage > 1 and (language == "py" or JAVASCRIPT[before(stage)] != JAVASCRIPT[stage])
            found += [(stage, language, BEFORE, 0)] if is_another else []
    return found


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench stages", description=__doc__.partition("\n")[0])
    parser.add_argument("stages", nargs="*", type=int, default=STAGES, help="all, if none is said")
    parser.add_argument("--times", type=int, default=1, help="how often each solution is graded")
    parser.add_argument("--jobs", type=int, default=1, help="so many at a time")
    parser.add_argument("--book", type=Path, metavar="F", help="what is in there is not graded again")
    args = parser.parse_args(words)
    wrong, full, seconds = 0, Counter[Unit](), Counter[Unit]()
    about = [ROOT / "exercises" / "build", SOLUTIONS]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DSJQ_RUNS"] = folder
        asked = units(args.stages, args.times)
        for unit, found in measured(asked, measure, args.book, about, args.jobs):
            stage, language, what, _ = unit  # OWN must miss nothing, BEFORE something
            is_wrong = bool(found["missed"]) == (what == OWN)
            wrong += is_wrong
            full[unit[:3]] += not is_wrong
            seconds[unit[:3]] += found["seconds"]
            if is_wrong:
                print(*unit, *found["missed"], sep="\n    ", flush=True)
            elif what == BEFORE:
                print(f"{stage:2} {language}  solution {before(int(stage))} fails: {found['names'][0]}")
    for key in dict.fromkeys(unit[:3] for unit in asked):
        stage, language, what = key
        times = sum(unit[:3] == key for unit in asked)
        told = "full marks" if what == OWN else "the one before fails"
        print(f"{stage:2} {language}  {told} {full[key]} of {times}, {seconds[key] / times:.1f} s each")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
