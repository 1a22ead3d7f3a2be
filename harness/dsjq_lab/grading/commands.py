"""The commands of coursework: `start` and `check` for students, `grade` and `bundle` for those who teach."""

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from dsjq_lab.report.plain import visible

if TYPE_CHECKING:
    from dsjq_lab.grading.results import Mark, Report

AS_EXPECTED, WRONG, USAGE, LAB_FAILED, UNKNOWN = 0, 1, 2, 3, 4
FORMATS = ("text", "json", "md", "junit", "gradescope", "classroom")
PROFILES = ("standard", "small")


def check_arguments(parser: argparse.ArgumentParser, broker: str, broker_cmd: str) -> None:
    parser.add_argument("exercise", metavar="EXERCISE", help="e.g. build/3, or a question of LAB.md: lab3/q2")
    parser.add_argument("--answer", metavar="A", help="yours to a question: a letter, a word or a number")
    studied = parser.add_mutually_exclusive_group()
    studied.add_argument("--broker-cmd", metavar="COMMAND", help=broker_cmd)
    studied.add_argument("--broker", metavar="FILE.py", help=broker)
    parser.add_argument("--all", action="store_true", help="go on after a check that fails")
    parser.add_argument("--plain", action="store_true", help="progress as lines that are only appended")


def start_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("exercise", metavar="EXERCISE", help="e.g. build/1 or repair/4")
    parser.add_argument("folder", metavar="DIR", type=Path, help="where your files are to lie")
    parser.add_argument("--language", metavar="NAME", help="of a starter: python (default), javascript")
    parser.add_argument("--student", default="", metavar="NAME", help="yours: your seed follows from it")


def start(args: argparse.Namespace) -> int:
    """Copies what an exercise gives out, and never over what is there."""
    from dsjq_lab.grading import desk, exercise

    asked_for = exercise.load(exercise.find(args.exercise))
    files = desk.set_up(asked_for, args.folder, args.student, args.language)
    if args.json:
        print(json.dumps({"files": list(map(str, files))}))
    else:
        print(*(visible(str(file)) for file in files), sep="\n")
        folder = shlex.quote(str(args.folder))
        print(f"\nNext   read {visible(str(files[0]))}; then: "
              f"cd {visible(folder)} && dsjq-lab check {args.exercise}")  # fmt: skip
    return AS_EXPECTED


def grade_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("exercise", metavar="EXERCISE", help="e.g. build/3")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--submission", type=Path, metavar="DIR",
                      help="a folder with broker.cmd; or a folder of such folders")  # fmt: skip
    what.add_argument("--from", type=Path, dest="stored", metavar="F.json",
                      help="nothing is run: a stored result in another format")  # fmt: skip
    parser.add_argument("--hidden", type=Path, metavar="DIR", help="more checks, of the same form")
    parser.add_argument("--format", choices=FORMATS, default="text")
    parser.add_argument("--out", type=Path, metavar="F", help="a file; of a batch a folder, or ./results")
    parser.add_argument("--profile", choices=PROFILES, default="standard", help="small: half a CPU, 768 MB")
    parser.add_argument("--jobs", type=int, default=1, metavar="J", help="of a batch: J at a time")


def check(args: argparse.Namespace) -> int:
    """The visible checks, in their order, up to the first that does not pass; or a question."""
    from dsjq_lab import brokers, progress
    from dsjq_lab.errors import UsageError
    from dsjq_lab.grading import desk, exercise, judge, questions
    from dsjq_lab.grading import progress as last
    from dsjq_lab.grading.results import PASSED, Report, lines
    from dsjq_lab.scenario import ScenarioErrors

    if questions.are_meant(args.exercise):
        return questions.check(args)
    if args.answer is not None:
        raise UsageError(f"--answer goes with a question, e.g. lab3/q2, and not with {args.exercise}")
    try:
        asked_for = exercise.load(exercise.find(args.exercise))
    except ScenarioErrors as errors:
        print(f"dsjq-lab: nothing was checked\n{errors}", file=sys.stderr)
        return USAGE
    if not args.broker and not args.broker_cmd:
        args.broker, args.broker_cmd = desk.own_broker(asked_for)
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
    passed = len(report.marks) == len(asked_for.checks) and report.score == asked_for.points
    last.note(asked_for.name, passed, conclusion(report, asked_for.points, len(asked_for.checks)))
    if args.json:
        print(json.dumps(report.as_json(), indent=2))
    else:
        print("", conclusion(report, asked_for.points, len(asked_for.checks)), sep="\n")
        if not passed and (before := last.not_yet_before(asked_for.name)):
            print(f"Stages build on each other, and {before} has not passed yet: check that first.")
    return exit_code(report)


def conclusion(report: "Report", points: int, checks: int) -> str:
    from dsjq_lab.grading.results import PASSED

    left = checks - len(report.marks)
    waiting = "more check waits" if left == 1 else "more checks wait"
    unseen = f"; {left} {waiting} behind this one" if left else ""
    word = "PASS" if all(mark.verdict == PASSED for mark in report.marks) else "NOT YET"
    undecided = f", {report.undecided} not decided" if report.undecided else ""
    return f"{word}   {report.total} of {points} points{undecided}{unseen}"


def exit_code(report: "Report") -> int:
    from dsjq_lab.grading.results import FAILED, PASSED

    verdicts = {mark.verdict for mark in report.marks}
    if FAILED in verdicts:
        return WRONG
    return AS_EXPECTED if verdicts == {PASSED} else UNKNOWN


def grade(args: argparse.Namespace) -> int:
    """Exit code 0 as soon as there is a valid result, whatever the score; 3 if the grader did not finish."""
    from dsjq_lab.errors import UsageError
    from dsjq_lab.grading import batch, exercise
    from dsjq_lab.grading.formats import FORMATS
    from dsjq_lab.grading.grade import Task, grade
    from dsjq_lab.grading.limits import PROFILES
    from dsjq_lab.scenario import ScenarioErrors

    form = FORMATS["json" if args.json else args.format]
    if args.stored:
        return deliver(args, form, stored(args.stored))
    folder = exercise.find(args.exercise).resolve()
    if not args.submission.is_dir():
        raise UsageError(f"no such folder: {args.submission}")
    if args.hidden:
        close_to_others(args.hidden)
    if batch.is_batch(args.submission):
        return grade_all(args, folder)
    hidden = args.hidden and args.hidden.resolve()
    task = Task(folder, hidden, args.submission.resolve(), PROFILES[args.profile])

    def keep(report: "Report") -> None:
        if args.out:
            replace(args.out, form(report))

    def tell(mark: "Mark") -> None:
        print(f"{mark.verdict:<15} {mark.name}  {mark.seconds:.1f} s", file=sys.stderr, flush=True)

    try:
        report = grade(task, keep, tell)
    except ScenarioErrors as errors:
        print(f"dsjq-lab: nothing was graded\n{errors}", file=sys.stderr)
        return USAGE
    return deliver(args, form, report)


def deliver(args: argparse.Namespace, form: "Callable[[Report], str]", report: "Report") -> int:
    if args.out:
        replace(args.out, form(report))
        print(visible(report.line()))
    else:
        print(form(report), end="")
    if report.grader_error:
        print(f"dsjq-lab: {report.grader_error}", file=sys.stderr)
        return LAB_FAILED
    return AS_EXPECTED


def stored(path: Path) -> "Report":
    from dsjq_lab.errors import UsageError
    from dsjq_lab.grading.results import Report

    try:
        fields = json.loads(path.read_text())
        return Report.of_json(fields.get("report", fields))  # of a batch, or of one
    except (OSError, ValueError, KeyError) as problem:
        raise UsageError(f"{path} is no result in JSON: {problem}") from None


def replace(path: Path, text: str) -> None:
    """In one step: whoever reads it finds the whole of the old one, or the whole of the new one."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def close_to_others(hidden: Path) -> None:
    if hidden.is_dir() and hidden.stat().st_mode & 0o077:
        hidden.chmod(0o700)
        print(f"{hidden} is closed to others now (chmod 700)", file=sys.stderr)


def bundle_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("exercise", metavar="EXERCISE", help="e.g. build/3")
    parser.add_argument("--format", choices=("gradescope", "classroom"), required=True)
    parser.add_argument("--hidden", type=Path, metavar="DIR", help="more checks, of the same form")
    parser.add_argument("--out", type=Path, metavar="F.zip", help="default: build-03-….zip")


def bundle(args: argparse.Namespace) -> int:
    from dsjq_lab.grading import bundle, exercise
    from dsjq_lab.scenario import ScenarioErrors

    folder = exercise.find(args.exercise).resolve()
    out = args.out or Path(f"{folder.parent.name}-{folder.name}-{args.format}.zip")
    try:
        packed = bundle.FORMATS[args.format](folder, args.hidden)
    except ScenarioErrors as errors:
        print(f"dsjq-lab: nothing was packed\n{errors}", file=sys.stderr)
        return USAGE
    out.write_bytes(packed)
    told = {"file": str(out), "bytes": len(packed)}
    print(json.dumps(told) if args.json else f"{out}: {len(packed) >> 10} KiB")
    return AS_EXPECTED


def grade_all(args: argparse.Namespace, folder: Path) -> int:
    from dsjq_lab.grading import batch

    out = args.out or Path("results")
    words = [str(folder), "--profile", args.profile]
    words += ["--hidden", str(args.hidden.resolve())] if args.hidden else []
    asked = [folder, args.hidden] if args.hidden else [folder]
    everybody = batch.submissions(args.submission)
    width = max(len(each.name) for each in everybody)
    rows: list[batch.Row] = []
    for row in batch.graded(args.submission, words, asked, out, args.jobs):
        rows.append(row)
        batch.write(rows, out)
        progress = f"{len(rows):>4} of {len(everybody)}  {visible(row.line(width))}"
        print(progress, file=sys.stderr if args.json else sys.stdout, flush=True)
    if args.json:
        print((out / "results.json").read_text(), end="")
    else:
        print("", *map(visible, batch.summary(sorted(rows))), f"{out}/results.csv", sep="\n")
    return LAB_FAILED if any(row.report.grader_error for row in rows) else AS_EXPECTED
