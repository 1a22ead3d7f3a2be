"""Are the patients of `exercises/repair` judged as they should be? `python -m bench repairs [PATIENT…]`

Of each: a trivial story earns nothing; the instructor's earns its points, and the broker nothing as long as
it is as it was; repaired it earns everything. Answers are in tests/answers/repair, which no student is given.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import yaml

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


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench repairs")
    parser.add_argument("patients", nargs="*", default=names())
    parser.add_argument("--times", type=int, default=1)
    args = parser.parse_args(argv)
    for name in args.patients:
        case = Case.of(name)
        submissions = {"trivial": (case.sick, case.trivial), "unrepaired": (case.sick, case.story),
                       "repaired": (case.sound, case.story)}  # fmt: skip
        for what, (broker, story) in submissions.items():
            for _ in range(args.times):
                started_s = time.monotonic()
                points = earned(name, broker, story)
                right = "" if points == EXPECTED[what] else f"   WRONG: should be {EXPECTED[what]}"
                seconds = time.monotonic() - started_s
                print(f"{name:<10} {what:<11} {points} {seconds:6.1f} s{right}", flush=True)
