"""`dsjq-lab`: one command, one function. stdout is the result, stderr is progress and complaints.

A command imports what it needs when it is called, so that --help does not wait for pydantic or rich.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dsjq_lab import __version__, library
from dsjq_lab.errors import LabError
from dsjq_lab.library import NotFound, did_you_mean

AS_EXPECTED, USAGE, LAB_FAILED, INTERRUPTED = 0, 2, 3, 130  # a judged run adds 1 failed and 4 unknown

EXIT_CODES = """\
exit codes: 0 as expected · 1 an invariant violated that should hold, or not violated that must be
            2 bad usage or scenario file · 3 the lab failed · 4 unknown · 130 interrupted"""


def main(argv: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    if words and not words[0].startswith("-") and words[0] not in COMMANDS:
        return complain(f"no such command: {words[0]}{did_you_mean(words[0], COMMANDS)}", USAGE)
    args = parser().parse_args(words)
    try:
        return COMMANDS[args.command](args)
    except NotFound as missing:
        return complain(str(missing), USAGE)
    except LabError as failure:
        return complain(f"the lab failed, which says nothing about the broker: {failure}", LAB_FAILED)
    except KeyboardInterrupt:
        return complain("interrupted", INTERRUPTED)


def parser() -> argparse.ArgumentParser:
    lab = argparse.ArgumentParser(
        prog="dsjq-lab",
        description="Plays scenarios against a job broker, and judges what happened.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    lab.add_argument("--version", action="version", version=f"dsjq-lab {__version__}")
    commands = lab.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, summary: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=summary, description=summary)
        sub.add_argument("--json", action="store_true", help="the result as JSON")
        return sub

    run = command("run", "Play a scenario on real processes, and judge it.")
    run.add_argument("what", metavar="FILE|RUN", help="a scenario, or a stored run to play once more")
    run.add_argument("--seed", type=int, help="instead of the scenario's")
    run.add_argument("--broker", metavar="FILE.py", help="the broker under study, e.g. zoo/p03")
    run.add_argument("--plain", action="store_true", help="progress as lines that are only appended")
    run.add_argument("--verbose", action="store_true", help="every strike and every verdict")

    validate = command("validate", "Check scenario files: every mistake, or else the plan.")
    validate.add_argument("files", metavar="FILE", nargs="*")
    validate.add_argument("--schema", action="store_true", help="print the JSON Schema of the format")

    judge = command("judge", "Judge a stored run again.")
    judge.add_argument("run", metavar="RUN", help="a run folder, a scenario's name, or latest")
    judge.add_argument("--verbose", action="store_true", help="every strike and every verdict")

    list_ = command("list", "What there is to play, and what was played.")
    list_.add_argument("kind", nargs="?", choices=LISTS, help="only these")
    return lab


def run(args: argparse.Namespace) -> int:
    from dsjq_lab import progress, runs

    play = what_to_play(args.what)
    if args.seed is not None:
        play["seed"] = args.seed
    if args.broker:
        play["broker_file"] = library.find("zoo", args.broker)
    with progress.shown(plain=args.plain) as on_progress:
        folder = runs.play(**play, on_progress=on_progress)
    return report(folder, args)


def what_to_play(text: str) -> dict[str, Any]:
    """A scenario file, or the scenario, seed and broker of a stored run."""
    from dsjq_lab import runs


def validate(args: argparse.Namespace) -> int:
    from dsjq_lab import scenario

    if args.schema:
        print(json.dumps(scenario.json_schema(), indent=2))
        return AS_EXPECTED
    mistakes, plans = [], {}
    for text in args.files:
        path = library.find("scenarios", text)
        try:
            plans[str(path)] = scenario.plan(scenario.load(path))
        except scenario.ScenarioErrors as errors:
            mistakes.append(errors)


def judge(args: argparse.Namespace) -> int:
    from dsjq_lab import runs

    return report(runs.find(args.run), args)


def report(folder: Path, args: argparse.Namespace) -> int:
    """The verdict on a run that is stored."""


def complain(message: str, exit_code: int) -> int:
    print(f"dsjq-lab: {message}", file=sys.stderr)
    return exit_code


LISTS: dict[str, Any] = {}
COMMANDS = {"run": run, "validate": validate, "judge": judge}
