"""Are the patients of `exercises/repair` judged as they should be?

    python -m bench repairs --times 3 --book repairs.jsonl
    python -m bench repairs 04-deniz

Of each: a trivial story earns nothing; the instructor's earns its points, and the broker nothing as long as
it is as it was; repaired it earns everything. Answers are in tests/answers/repair, which no student is given.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import yaml

from bench._book import Found, measured
from dsjq_lab.brokers import Dsjq
from dsjq_lab.grading import exercise, judge, repair

ROOT = Path(__file__).parents[1]
ANSWERS = ROOT / "tests" / "answers" / "repair"
TRIVIAL = """\
scenario: 1
title: One job
story: Nothing happens.
load: {{jobs: 1}}
finish_within: 10s
focus: {promises}
"""
EXPECTED = {"trivial": [0, 0], "unrepaired": [10, 0], "repaired": [10, 10]}


class Case(NamedTuple):
    """A patient, its healthy twin, and two stories."""

    sick: str
    sound: str
    trivial: str
    story: str

    @classmethod
    def of(cls, name: str) -> "Case":
        answer = yaml.safe_load((ANSWERS / name / "answer.yaml").read_text())
        sick = sound = (ROOT / "exercises" / "repair" / name / exercise.PATIENT).read_text()
        for change in answer["repair"]:
            if sound.count(change["replace"]) != 1:
                raise ValueError(f"{name}: the answer does not fit the patient")
            sound = sound.replace(change["replace"], change["by"])
        story = (ANSWERS / name / repair.OWN).read_text()
        return cls(sick, sound, TRIVIAL.format(promises=answer["caught_by"]), story)


def names() -> list[str]:
    return sorted(folder.name for folder in ANSWERS.iterdir() if folder.is_dir())


def earned(name: str, broker: str, story: str) -> list[int | None]:
    """The points of a submission; None where nobody can tell."""
    asked_for = exercise.load(ROOT / "exercises" / "repair" / name)
    with tempfile.TemporaryDirectory() as desk:
        file = Path(desk) / exercise.PATIENT
        file.write_text(broker)
        (Path(desk) / repair.OWN).write_text(story)
        marks = [judge.judge(one, Dsjq(file)) for one in asked_for.checks]
    return [mark.earned if mark.is_decided else None for mark in marks]


def measure(name: str, what: str, time_nr: int) -> Found:
    started_s = time.monotonic()
    case = Case.of(name)
    broker, story = {"trivial": (case.sick, case.trivial), "unrepaired": (case.sick, case.story),
                     "repaired": (case.sound, case.story)}[what]  # fmt: skip
    return {"points": earned(name, broker, story), "seconds": round(time.monotonic() - started_s, 1)}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench repairs", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("patients", nargs="*", default=names(), help="e.g. 02-ben; all, if none is said")
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="so many at a time")
    parser.add_argument("--book", type=Path, metavar="F", help="what is in there is not judged again")
    args = parser.parse_args(argv)
    units = [(name, what, number) for name in args.patients for number in range(args.times)
             for what in EXPECTED]  # fmt: skip
    wrong = 0
    folders = [ROOT / "exercises" / "repair", ANSWERS]
    for (name, what, _), found in measured(units, measure, args.book, folders, args.jobs):
        is_wrong = found["points"] != EXPECTED[str(what)]
        wrong += is_wrong
        told = f"   WRONG: should be {EXPECTED[str(what)]}" if is_wrong else ""
        print(f"{name:<10} {what:<11} {found['points']} {found['seconds']:6.1f} s{told}", flush=True)
    print(f"{len(units) - wrong} of {len(units)} as they should be")
    return 1 if wrong else 0
