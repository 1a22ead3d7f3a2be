"""`dsjq-lab`: one command, one function. stdout is the result, stderr is progress and complaints.

A command imports what it needs when it is called, so that --help does not wait for pydantic or rich.
"""

import argparse
import json
import sys
import textwrap
import traceback
from collections.abc import Callable, Sequence
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from dsjq_lab import __version__, library
from dsjq_lab.errors import LabError, UsageError
from dsjq_lab.grading import commands as coursework
from dsjq_lab.history import Header, HistoryError, read_history
from dsjq_lab.library import NotFound, did_you_mean
from dsjq_lab.report.plain import visible
from dsjq_lab.shelves import SHELVES, invariants
from dsjq_lab.sim import explore as exploring

if TYPE_CHECKING:
    from dsjq_lab.results import Result

BROKER = (
    "the broker under study: a file, e.g. zoo/p03; dsjq-frames, whose clients speak frames; "
    "a real one, started here (rabbitmq, rabbitmq-quorum, redis-list, "
    "redis-stream, nats, beanstalkd, beanstalkd-polled); "
    "or one that runs already, e.g. amqp://host, and is not struck itself"
)
BROKER_CMD = (
    "any program that speaks the four core commands, e.g. 'python3 mine.py --port {port}'; "
    "also {host} {data} {ack_timeout} {max_attempts}"
)
GLANCE = 24  # events of a failed run that are drawn at once
AS_EXPECTED, USAGE, LAB_FAILED, INTERRUPTED = 0, 2, 3, 130  # results.py has the codes of a judged run

EXIT_CODES = """\
exit codes:
  0  as expected
  1  an invariant violated that should hold, or one not violated that must be
  2  bad usage, or a bad scenario file
  3  the lab or its environment failed
  4  unknown: the run proves nothing
  130  interrupted"""


def main(argv: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    if words and not words[0].startswith("-") and words[0] not in COMMANDS:
        return complain(f"no such command: {words[0]}{did_you_mean(words[0], COMMANDS)}", USAGE)
    args = parser().parse_args(words)
    args.words = words
    try:
        return COMMANDS[args.command](args)
    except UsageError as mistake:
        return complain(str(mistake), USAGE)
    except (LabError, HistoryError) as failure:
        return complain(f"no verdict: {failure}", LAB_FAILED)
    except KeyboardInterrupt:
        return complain("interrupted", INTERRUPTED)
    except BrokenPipeError:
        return LAB_FAILED  # nobody reads the result any more
    except Exception:  # must not end as exit 1, which accuses the broker
        return complain(f"a bug in the lab, so there is no verdict:\n{traceback.format_exc()}", LAB_FAILED)


def say(text: str, file: TextIO | None = None) -> None:
    print(*map(visible, text.split("\n")), sep="\n", file=file)


def complain(message: str, exit_code: int) -> int:
    say(f"dsjq-lab: {message}", sys.stderr)
    return exit_code


def at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("should be 1 or more")
    return number


def scale(text: str) -> float:
    factor = float(text)
    if not 0 < factor < inf:
        raise argparse.ArgumentTypeError("should be more than 0")
    return factor


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
        sub.add_argument("--json", action="store_true", help="print the result as JSON")
        return sub

    run = command("run", "Play a scenario on real processes, and judge it.")
    run.add_argument("what", metavar="FILE|RUN", help="a scenario, or a stored run to play once more")
    run.add_argument("--seed", type=int, metavar="N", help="instead of the scenario's")
    broker = run.add_mutually_exclusive_group()
    broker.add_argument("--broker", metavar="NAME|FILE.py|URL", help=BROKER)
    broker.add_argument("--broker-cmd", metavar="COMMAND", help=BROKER_CMD)
    run.add_argument("--repeat", type=at_least_one, default=1, metavar="N", help="with seed, seed+1, …")
    run.add_argument("--jobs", type=at_least_one, default=1, metavar="J", help="J of them at a time")
    run.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="e.g. load.jobs=5")
    run.add_argument("--without-faults", action="store_true", help="as a control: nothing may be violated")
    run.add_argument("--time-scale", type=scale, default=1.0, metavar="X", help="all times X times as long")
    run.add_argument("--shrink", action="store_true", help="explore a failure until its story is short")
    run.add_argument("--plain", action="store_true", help="progress as lines that are only appended")
    run.add_argument("--verbose", action="store_true", help="every strike and every verdict")

    exploring.arguments(command("explore", "Play a scenario simulated, in thousands of interleavings."))

    replay = command("replay", "Play an explored failure again, and tell it by source line.")
    replay.add_argument("what", metavar="RUN", help="a run folder, or the name of a run")
    replay.add_argument("--step", action="store_true", help="every switch, with who holds and waits for what")

    judge = command("judge", "Judge a stored run again.")
    judge.add_argument("what", metavar="RUN", help="a run folder, or the name of a run")
    judge.add_argument("--verbose", action="store_true", help="every strike and every verdict")

    show = command("show", "A run as a picture: what led to its failure, a job, a moment; and as files.")
    show.add_argument("what", metavar="RUN", help="a run folder, or the name of a run")
    part = show.add_mutually_exclusive_group()
    part.add_argument("--job", metavar="J", help="the life of one job")
    part.add_argument("--around", type=int, metavar="EVENT", help="an operation, by its place in the history")
    for suffix, content in (("svg", "the picture"), ("png", "the picture"), ("html", "the whole report")):
        show.add_argument(f"--{suffix}", type=Path, metavar="F", help=f"write {content} to this file")
    show.add_argument("--export", nargs=2, metavar=("FORMAT", "F"), help="shiviz, perfetto, junit or csv")

    compare = command("compare", "Two runs side by side; or one scenario, played with several brokers.")
    compare.add_argument("what", metavar="RUN RUN|FILE", nargs="+", help="two stored runs; or a scenario")
    compare.add_argument("--brokers", metavar="NAME,NAME…", help="e.g. dsjq,rabbitmq,redis-list,zoo/p11")
    compare.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="e.g. load.jobs=5")
    compare.add_argument("--without-faults", action="store_true", help="the scenario as a control")
    compare.add_argument("--html", type=Path, metavar="F", help="write a page with both to this file")

    validate = command("validate", "Check scenario files: every mistake, or else the plan.")
    what = validate.add_mutually_exclusive_group(required=True)
    what.add_argument("files", metavar="FILE", nargs="*", default=[])
    what.add_argument("--schema", action="store_true", help="print the JSON Schema of the format")

    explain = command("explain", "What an invariant, a fault, an event, a word or an error code means.")
    explain.add_argument("name", nargs="?", help="without it: all names")

    zoo = command("zoo", "How good is the lab? Plays every patient, and the reference in the same scenarios.")
    zoo.add_argument("patients", metavar="PATIENT", nargs="*", help="e.g. p03; all of them if none is named")
    zoo.add_argument("--runs", type=at_least_one, default=5, metavar="N", help="live, of each (default: 5)")
    zoo.add_argument("--jobs", type=at_least_one, default=1, metavar="N", help="N runs at a time")
    zoo.add_argument("--world", choices=("live", "explored", "both"), default="both")
    zoo.add_argument("--black-box", action="store_true", help="live, through --broker-cmd")
    zoo.add_argument("--book", type=Path, metavar="F", help="a file of runs: none is made twice")

    start = command("start", "Copy the files of an exercise to a folder of your own.")
    coursework.start_arguments(start)
    check = command("check", "Run the visible checks of an exercise, up to the first that fails.")
    coursework.check_arguments(check, BROKER, BROKER_CMD)
    coursework.grade_arguments(command("grade", "Score a submission of an exercise, or a folder of them."))
    coursework.bundle_arguments(command("bundle", "Pack an exercise for Gradescope or GitHub Classroom."))

    command("doctor", "What this machine can do for the lab, and the cure for what it cannot.")

    list_ = command("list", "What there is to play, to break and to look at.")
    list_.add_argument("kind", nargs="?", choices=sorted(SHELVES), help="only these")
    return lab


# -- Commands ---------------------------------------------------------------------------------------------


def run(args: argparse.Namespace) -> int:
    from dsjq_lab import brokers, progress, runs, scenario
    from dsjq_lab.variation import Variation

    if args.shrink and (args.repeat > 1 or args.json):
        raise UsageError("--shrink tells one run in words: it goes neither with --repeat nor with --json")
    path, header = what_to_play(args.what)
    variation = Variation(tuple(args.set), args.without_faults, args.time_scale)
    if header is not None:
        variation = Variation.of(header).then(variation)
    try:
        if args.broker or args.broker_cmd or header is None:
            broker = brokers.under_study(args.broker, args.broker_cmd)
        else:
            broker = brokers.of_run(header)
        seed = header.seed if args.seed is None and header else args.seed
        if args.repeat > 1:
            return repeat(args, variation.load(path).seed if seed is None else seed)
        with progress.shown(args.plain, unseen=args.json) as on_progress:
            folder = runs.play(path, seed=seed, broker=broker, variation=variation, on_progress=on_progress)
    except scenario.ScenarioErrors as errors:
        return complain(f"nothing was run\n{errors}", USAGE)
    exit_code = report(folder, args)
    if args.shrink:
        shrink(folder)
    return exit_code


def shrink(folder: Path) -> None:
    """Looks in the explored world for the failure of a live run, if it is one, and tells the shortest."""
    from dsjq_lab import brokers
    from dsjq_lab.variation import Variation
    from dsjq_lab.verdict import VIOLATED

    result = judged(folder)
    violated = [ruling.verdict.invariant for ruling in result.with_standing(VIOLATED)]
    if not violated:
        say("Nothing to shrink: nothing was violated that should hold.")
        return
    header = result.model.header
    match brokers.of_run(header):
        case brokers.Dsjq(file=file):
            broker = str(file) if file else None
            variation = Variation.of(header)
            told = exploring.shrunk(folder / "scenario.yaml", broker, violated, variation)
            say("\n".join(["", *told]))
        case _:
            say("A broker that is started by a command cannot be explored, so it cannot be shrunk.")


def what_to_play(text: str) -> tuple[Path, Header | None]:
    """A scenario; or that of a stored run, and how it was played."""
    from dsjq_lab import runs

    try:
        return library.find("scenarios", text), None
    except NotFound as no_scenario:
        try:
            folder = runs.find(text)
        except NotFound:
            raise no_scenario from None
    return folder / "scenario.yaml", read_history(folder / "history.jsonl").header


def repeat(args: argparse.Namespace, first_seed: int) -> int:
    """Tells each run as it ends, then all of them together."""
    from dsjq_lab.repeat import Play, Series, played

    series = Series([])
    plays = [Play(tuple(args.words), seed) for seed in range(first_seed, first_seed + args.repeat)]
    for _, run in played(plays, args.jobs):
        series.runs.append(run)
        if not args.json:
            say(run.line())
    say(json.dumps(series.as_json(), indent=2) if args.json else "\n".join(["", *series.table()]))
    return series.exit_code


def explore(args: argparse.Namespace) -> int:
    from dsjq_lab import scenario

    try:
        scenario.load(library.find("scenarios", args.what))
    except scenario.ScenarioErrors as errors:
        return complain(f"nothing was explored\n{errors}", USAGE)
    return exploring.main(args)


def replay(args: argparse.Namespace) -> int:
    from dsjq_lab.sim import replay

    return replay.main(args)


def judge(args: argparse.Namespace) -> int:
    from dsjq_lab import runs

    return report(runs.find(args.what), args)


def report(folder: Path, args: argparse.Namespace) -> int:
    """Judges a run that is stored, keeps its pictures, and tells the verdict."""
    from dsjq_lab.report import ladder, pictures, terminal, view

    result = judged(folder)
    trace = pictures.keep(result, folder)
    if args.json:
        print(json.dumps({"run": str(folder), **result.as_json()}, indent=2))
    else:
        seen = view.of_run(result, trace, GLANCE)
        picture = ladder.draw(trace, seen.events, seen.notes) if result.outcome == "fail" else ()
        terminal.show(result, folder, sys.stdout, verbose=args.verbose, picture=picture)
    return result.exit_code


def judged(folder: Path) -> "Result":
    from dsjq_lab import results
    from dsjq_lab.scenario import ScenarioErrors

    try:
        return results.judged(folder)
    except ScenarioErrors as damage:
        raise LabError(f"the scenario of this run is damaged\n{damage}") from damage


def show(args: argparse.Namespace) -> int:
    from dsjq_lab import runs
    from dsjq_lab.report import exports, ladder, page, pictures, telling, view

    folder = runs.find(args.what)
    result = judged(folder)
    trace = telling.trace(result.model)
    if args.job is not None:
        seen = view.of_job(args.job, trace)
    else:
        seen = view.of_run(result, trace) if args.around is None else view.around(args.around, trace)
    written: dict[Path, str | bytes] = {}
    if args.svg:
        written[args.svg] = pictures.svg(trace, seen)
    if args.png:
        written[args.png] = pictures.png(pictures.svg(trace, seen))
    if args.html:
        written[args.html] = page.report(result, trace, folder)
    if args.export:
        written[Path(args.export[1])] = exports.export(args.export[0], result, trace)
    for path, content in written.items():
        pictures.write(path, content)
    if args.json:
        events = [{**event._asdict(), "note": seen.notes.get(event.index)} for event in seen.events]
        files = list(map(str, written))
        print(json.dumps({"run": str(folder), "heading": seen.heading, "events": events, "files": files}))
    else:
        picture = [seen.heading, "", *ladder.draw(trace, seen.events, seen.notes)]
        say("\n".join(map(str, written)) if written else "\n".join(picture))
    return AS_EXPECTED


def compare(args: argparse.Namespace) -> int:
    from dsjq_lab import runs
    from dsjq_lab.report import page, pictures

    if args.brokers:
        return compare_brokers(args)
    if len(args.what) != 2:
        raise UsageError("compare takes two runs, or a scenario and --brokers")
    both = [(judged(folder), folder) for folder in map(runs.find, args.what)]
    names, rows = [page.name(result) for result, _ in both], page.figures([result for result, _ in both])
    if args.html:
        pictures.write(args.html, page.comparison(both))
    if args.json:
        print(json.dumps({"runs": names, "figures": dict(rows)}, indent=2))
    else:
        say("\n".join(f"{what:<26} {'  '.join(f'{value:<32}' for value in values)}".rstrip()
                      for what, values in [("", names), *rows]))  # fmt: skip
    return AS_EXPECTED


def compare_brokers(args: argparse.Namespace) -> int:
    from dsjq_lab import scenario, side_by_side
    from dsjq_lab.variation import Variation

    if len(args.what) != 1 or args.html:
        raise UsageError("compare --brokers takes one scenario, and writes no page")
    variation = Variation(tuple(args.set), args.without_faults)
    try:
        columns = side_by_side.compare(
            library.find("scenarios", args.what[0]), args.brokers.split(","), variation
        )
    except scenario.ScenarioErrors as errors:
        return complain(f"nothing was run\n{errors}", USAGE)
    say(side_by_side.as_json(columns) if args.json else "\n".join(side_by_side.table(columns)))
    return side_by_side.exit_code(columns)


def validate(args: argparse.Namespace) -> int:
    from dsjq_lab import scenario

    if args.schema:
        print(json.dumps(scenario.json_schema(), indent=2))
        return AS_EXPECTED
    checked = []
    for text in args.files:
        path = library.find("scenarios", text)
        plan, mistakes, rendered = [], [], []
        try:
            plan = scenario.plan(scenario.load(path))
        except scenario.ScenarioErrors as errors:
            mistakes, rendered = [mistake._asdict() for mistake in errors.mistakes], errors.rendered
        checked.append({"file": str(path), "valid": not mistakes, "mistakes": mistakes, "plan": plan})
        if not args.json:
            say("\n".join(rendered or [f"{path}: valid", *(f"  {line}" for line in plan or ["no faults"])]))
    if args.json:
        print(json.dumps(checked, indent=2))
    return AS_EXPECTED if all(file["valid"] for file in checked) else USAGE


def explain(args: argparse.Namespace) -> int:
    from dsjq_lab import handbook

    entries = handbook.explained(args.name) if args.name else handbook.entries()
    if args.json:
        print(json.dumps([entry._asdict() for entry in entries], indent=2))
    elif args.name:
        rules = invariants()
        for entry in entries:
            say(f"{entry.name} ({entry.kind})")
            if entry.name in rules:
                say(folded(f"Rule: {rules[entry.name]}"))
            say(folded(entry.text))
            say(f"  {entry.page}")
    else:
        for kind in dict.fromkeys(entry.kind for entry in entries):
            say(kind)
            say(folded(", ".join(entry.name for entry in entries if entry.kind == kind)))
    return AS_EXPECTED


def folded(text: str) -> str:
    """Its paragraphs, indented, in lines that are easy to read."""
    indent = " " * 2
    paragraphs = (
        textwrap.fill(" ".join(paragraph.split()), 90, initial_indent=indent, subsequent_indent=indent)
        for paragraph in text.split("\n\n")
    )
    return "\n".join(paragraphs)


def list_(args: argparse.Namespace) -> int:
    found = {kind: SHELVES[kind]() for kind in SHELVES if args.kind in (None, kind)}
    if args.json:
        print(json.dumps(found, indent=2))
        return AS_EXPECTED
    for kind, entries in found.items():
        width = max(map(len, entries), default=0)
        say("\n".join([kind, *(f"  {name:<{width}}  {meaning}" for name, meaning in entries.items())]))
    return AS_EXPECTED


def zoo(args: argparse.Namespace) -> int:
    from dsjq_lab import zoo

    world = "live" if args.black_box else args.world
    rows = []
    for row in zoo.visit(args.patients, world, args.runs, args.jobs, args.black_box, args.book):
        rows.append(row)
        if not args.json:
            say(row.line())
    say(zoo.as_json(rows) if args.json else "\n".join(["", *zoo.summary(rows)]))
    return zoo.exit_code(rows)


def doctor(args: argparse.Namespace) -> int:
    from dsjq_lab import doctor

    findings = doctor.examine()
    say(doctor.as_json(findings) if args.json else "\n".join(doctor.table(findings)))
    return AS_EXPECTED


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "run": run,
    "explore": explore,
    "replay": replay,
    "judge": judge,
    "show": show,
    "compare": compare,
    "validate": validate,
    "explain": explain,
    "list": list_,
    "zoo": zoo,
    "start": coursework.start,
    "check": coursework.check,
    "grade": coursework.grade,
    "bundle": coursework.bundle,
    "doctor": doctor,
}
