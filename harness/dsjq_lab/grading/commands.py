"""The commands of coursework: `start`, `check`."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dsjq_lab.report.plain import visible

if TYPE_CHECKING:
    from dsjq_lab.grading.results import Report

AS_EXPECTED, WRONG, USAGE, UNKNOWN = 0, 1, 2, 4


def check_arguments(parser: argparse.ArgumentParser, broker: str, broker_cmd: str) -> None:
    parser.add_argument("exercise", metavar="EXERCISE", help="e.g. build/3")
    studied = parser.add_mutually_exclusive_group()
    studied.add_argument("--broker-cmd", metavar="COMMAND", help=broker_cmd)
    studied.add_argument("--broker", metavar="FILE.py", help=broker)
    parser.add_argument("--all", action="store_true", help="go on after a check that fails")
    parser.add_argument("--plain", action="store_true", help="progress as lines that are only appended")


def start_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("exercise", metavar="EXERCISE", help="e.g. repair/4")
    parser.add_argument("folder", metavar="DIR", type=Path, help="where your files are to lie")
    parser.add_argument("--student", default="", metavar="NAME", help="yours: your seed follows from it")


def start(args: argparse.Namespace) -> int:
    """Copies what an exercise gives out, and never over what is there."""
    from dsjq_lab.grading import desk, exercise

    files = desk.set_up(exercise.load(exercise.find(args.exercise)), args.folder, args.student)
    if args.json:
        print(json.dumps({"files": list(map(str, files))}))
    else:
        print(*(visible(str(file)) for file in files), sep="\n")
        print(f"\nNext   read {args.folder / exercise.PAGE}; then, in that folder: "
              f"dsjq-lab check {args.exercise}")  # fmt: skip
    return AS_EXPECTED


def check(args: argparse.Namespace) -> int:
    """The visible checks, in their order, up to the first that does not pass."""
    from dsjq_lab import brokers, progress
    from dsjq_lab.grading import exercise, judge
    from dsjq_lab.grading.results import PASSED, Report, lines
    from dsjq_lab.scenario import ScenarioErrors

    try:
        asked_for = exercise.load(exercise.find(args.exercise))
    except ScenarioErrors as errors:
        print(f"dsjq-lab: nothing was checked\n{errors}", file=sys.stderr)
        return USAGE
    if not args.broker and not args.broker_cmd:
        args.broker = exercise.own_broker(asked_for)
    broker = brokers.under_study(args.broker, args.broker_cmd)
    asked_for, notes = judge.points_moved(asked_for, broker)
    report = Report(asked_for.name, asked_for.title, [], notes)
    if not args.json:
        print(f"{asked_for.name}: {asked_for.title}\n", *notes, sep="\n", flush=True)
    for asked in asked_for.checks:
        with progress.shown(args.plain, unseen=args.json) as watch:
            mark = judge.judge(asked, broker, watch)
        report.marks.append(mark)
        if not args.json:
            print(*map(visible, lines(mark)), sep="\n", flush=True)
        if mark.verdict != PASSED and not args.all:
            break
    if args.json:
        print(json.dumps(report.as_json(), indent=2))
    else:
        print("", conclusion(report, asked_for.points, len(asked_for.checks)), sep="\n")
    return exit_code(report)


def conclusion(report: "Report", points: int, checks: int) -> str:
    from dsjq_lab.grading.results import PASSED

    left = checks - len(report.marks)
    unseen = f"; {left} more checks wait behind this one" if left else ""
    word = "PASS" if all(mark.verdict == PASSED for mark in report.marks) else "NOT YET"
    undecided = f", {report.undecided} not decided" if report.undecided else ""
    return f"{word}   {report.total} of {points} points{undecided}{unseen}"


def exit_code(report: "Report") -> int:
    from dsjq_lab.grading.results import FAILED, PASSED

    verdicts = {mark.verdict for mark in report.marks}
    if FAILED in verdicts:
        return WRONG
    return AS_EXPECTED if verdicts == {PASSED} else UNKNOWN
