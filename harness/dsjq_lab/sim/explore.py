"""`dsjq-lab explore SCENARIO`: thousands of interleavings, in processes that are watched from here.

Student code runs in the children (child.py) and nowhere else. A child that is silent for too long is in a
loop that passes no point, or in a call into C that never returns: it is killed, and that is a verdict too.
"""

import argparse
import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dsjq_lab import brokers, library
from dsjq_lab.errors import LabError
from dsjq_lab.report.plain import visible
from dsjq_lab.sim.strategies import STRATEGIES
from dsjq_lab.variation import Variation

SILENCE_S_MAX = 120.0  # of computing: an endless loop
STILL_S_MAX = 900.0  # by the clock: whatever that is, it is no verdict on the broker
UNLIMITED = 10**9
DEFAULT_SECONDS = 30.0
WARNINGS_SHOWN = 3
PASS, FAIL, UNKNOWN = 0, 1, 4
LIMITS = (
    "Explored is one interpreter, with sequentially consistent memory, calls into C in one step, a network",
    "that loses no bytes, and no ssl, sqlite3 or subprocess. No failure in N runs is evidence, not proof.",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the sub-command."""
    parser.add_argument("what", metavar="SCENARIO")
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument("--runs", type=int, metavar="N", help="how many")
    amount.add_argument("--for", type=seconds, metavar="60s", dest="seconds", help="how long (default: 30s)")
    parser.add_argument("--strategy", choices=sorted(STRATEGIES), default="mix")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the first run")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes")
    broker = parser.add_mutually_exclusive_group()
    broker.add_argument("--broker", metavar="FILE.py", help="the broker under study, e.g. zoo/p03")
    broker.add_argument("--broker-cmd", metavar="COMMAND", help="e.g. 'python3 mine.py --port {port}'")
    parser.add_argument("--exhaustive", action="store_true", help="every schedule within the bound, once")
    parser.add_argument("--bound", type=int, default=1, metavar="N", help="interruptions (default: 1)")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first failure")
    parser.add_argument("--count", action="store_true", help="only count how many runs fail")
    parser.add_argument("--only", type=lambda text: text.split(","), dest="wanted", metavar="NAME,NAME…",
                        help="failures of these names, and no others")  # fmt: skip
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="e.g. load.jobs=5")
    parser.add_argument("--without-faults", action="store_true", help="nothing is done to anybody")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where failures are stored (default: runs)")
    parser.set_defaults(time_scale=1.0, wanted=(), quiet=False)


def as_asked(*words: str, **more: Any) -> argparse.Namespace:
    """What the command line would make of these words, for those who explore from Python.

    `wanted` names failures, and no others count; `quiet` explorers show no progress.
    """
    parser = argparse.ArgumentParser()
    arguments(parser)
    return argparse.Namespace(**{**vars(parser.parse_args(words)), "json": False, **more})


def seconds(text: str) -> float:
    if not text.endswith("s") or not text[:-1].replace(".", "", 1).isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; write 60s")
    return float(text[:-1])


class Child:
    """One searcher, and the last that was heard of it."""

    def __init__(self, task: dict[str, Any], out: Path | None) -> None:
        place = {} if out is None else {"DSJQ_RUNS": str(out.resolve())}
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "dsjq_lab.sim.child", json.dumps(task)],
            env={**os.environ, **place, "PYTHONHASHSEED": "0"},
            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.output = self.process.stdout
        self.rest = b""
        self.heard_at_s, self.heard_s = self.computed_s(), time.monotonic()
        self.progress: dict[str, int] = {}

    def receive(self) -> list[dict[str, Any]] | None:
        """What it says; None when it has ended."""
        data = os.read(self.output.fileno(), 1 << 16)
        self.heard_at_s, self.heard_s = self.computed_s(), time.monotonic()
        *lines, self.rest = (self.rest + data).split(b"\n")
        return [json.loads(line) for line in lines] if data else None

    def computed_s(self) -> float:
        """Its processor time: others may be at work here, and to wait for them is no endless loop."""
        import psutil  # not above: --help does without it

        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    def end(self) -> int:
        self.process.kill()
        self.output.close()
        return self.process.wait()


class Exploration:
    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        scenario = library.find("scenarios", args.what)
        brokers.under_study(args.broker, args.broker_cmd)  # complains before a process is started
        of = 1 if args.exhaustive else max(1, min(args.jobs, args.runs or args.jobs))
        unlimited = args.runs is not None or args.exhaustive
        self.tasks = [
            {
                "scenario": str(scenario), "broker": args.broker, "broker_cmd": args.broker_cmd,
                "strategy": args.strategy,
                "seed": args.seed, "number": number, "of": of, "keep_going": args.keep_going,
                "count": args.count,
                "runs": UNLIMITED if args.runs is None else args.runs // of + (number < args.runs % of),
                "seconds": args.seconds or (UNLIMITED if unlimited else DEFAULT_SECONDS),
                "bound": args.bound if args.exhaustive else None, "wanted": list(args.wanted),
                "set": args.set, "without_faults": args.without_faults, "time_scale": args.time_scale,
            }
            for number in range(of)
        ]  # fmt: skip
        self.children: list[Child] = []
        self.failures: list[dict[str, Any]] = []
        self.warnings: list[str] = []
        self.refused = self.broken = ""
        self.complete = False  # every schedule within the bound was played
        self.started_s = self.shown_s = time.monotonic()
        self.spent_s = 0.0

    def run(self) -> None:
        with selectors.DefaultSelector() as selector:
            try:
                for task in self.tasks:
                    child = Child(task, self.args.out)
                    self.children.append(child)
                    selector.register(child.output, selectors.EVENT_READ, child)
                while selector.get_map() and not self.is_over():
                    for key, _ in selector.select(1.0):
                        self.hear(key.data, selector)
                    self.watch(selector)
            finally:
                for child in self.children:
                    child.end()
        self.spent_s = time.monotonic() - self.started_s

    def is_over(self) -> bool:
        found = bool(self.failures) and not self.args.keep_going
        return found or bool(self.refused or self.broken)

    def hear(self, child: Child, selector: selectors.BaseSelector) -> None:
        messages = child.receive()
        if messages is None:
            selector.unregister(child.output)
            if status := child.process.wait():
                self.broken = self.broken or f"a process that explored ended with status {status}"
        for message in messages or ():
            match message.pop("kind"):
                case "progress":
                    child.progress = message
                case "warnings":
                    self.warnings = message["texts"]
                case "found":
                    self.note(f"run {message['nth_run']} fails ({', '.join(message['names'])}); shrinking")
                case "failure":
                    self.failures.append(message)
                case "complete":
                    self.complete = True
                case "refused":
                    self.refused = message["why"]
                case "broken":
                    self.broken = message["why"]
        self.show()

    def watch(self, selector: selectors.BaseSelector) -> None:
        for child in self.children:
            if child.output not in selector.get_map():
                continue
            still = time.monotonic() - child.heard_s > STILL_S_MAX
            if not still and child.computed_s() - child.heard_at_s <= SILENCE_S_MAX:
                continue
            selector.unregister(child.output)
            child.end()
            if still:
                self.broken = f"a process that explored said nothing for {STILL_S_MAX:g} s; too busy?"
            else:
                self.failures.append({"names": ["endless"], "story": [
                    f"=> endless: a run passed no point in {SILENCE_S_MAX:g} s of computing, so it was killed"
                ]})  # fmt: skip

    def counts(self) -> dict[str, int]:
        """Of all children; of the places in the source, those of the child that has come by most."""
        reports = [child.progress for child in self.children if child.progress]
        counts = {name: sum(report[name] for report in reports)
                  for name in ("runs", "distinct", "failing", "unknown")}  # fmt: skip
        most = max(reports, key=lambda report: report["interrupted"], default={"interrupted": 0, "places": 0})
        return {**counts, "interrupted": most["interrupted"], "places": most["places"]}

    def note(self, text: str) -> None:
        if not self.args.quiet:
            print(text, file=sys.stderr, flush=True)

    def show(self) -> None:
        if time.monotonic() - self.shown_s >= 2.0:
            self.shown_s = time.monotonic()
            counts, spent_s = self.counts(), self.shown_s - self.started_s
            rate = f"{counts['runs'] / spent_s:.0f} runs/s"
            different, fail = counts["distinct"], counts["failing"]
            where = coverage(counts)
            self.note(f"{counts['runs']} runs, {rate}, {different} different, {fail} fail, {where}")

    def outcome(self) -> tuple[str, int]:
        counts = self.counts()
        if self.failures or counts["failing"]:
            return "fail", FAIL
        if self.refused or counts["runs"] == counts["unknown"]:
            return "unknown", UNKNOWN
        return "pass", PASS


def main(args: argparse.Namespace) -> int:
    """The exit code of `dsjq-lab explore`."""
    exploration = Exploration(args)
    exploration.run()
    if exploration.broken:
        raise LabError(exploration.broken)
    word, exit_code = exploration.outcome()
    if args.json:
        counts = {**exploration.counts(), "seconds": round(exploration.spent_s, 2)}
        told = {"outcome": word, "exit_code": exit_code, **counts, "failures": exploration.failures}
        told |= {"complete": exploration.complete, "refused": exploration.refused}
        told |= {"warnings": exploration.warnings}
        print(json.dumps(told, indent=2))
        return exit_code
    for line in render(exploration, word):
        print(visible(line))
    return exit_code


def shrunk(path: Path, broker: str | None, wanted: Sequence[str], variation: Variation) -> list[str]:
    """For a live run that failed: a short schedule that violates one of the same invariants, in lines."""
    words = [str(path), *(["--broker", broker] if broker else [])]
    words += [word for change in variation.changes for word in ("--set", change)]
    exploration = Exploration(as_asked(
        *words, wanted=wanted, without_faults=variation.without_faults, time_scale=variation.time_scale,
    ))  # fmt: skip
    exploration.run()
    if exploration.failures:
        return ["The same, in the explored world:", *render(exploration, "fail")]
    why = exploration.refused or exploration.broken or f"no run of {exploration.counts()['runs']} failed so"
    return [f"Not found again in the explored world: {why}"]


def coverage(counts: dict[str, int]) -> str:
    return f"interrupted at {counts['interrupted']} of {counts['places']} lines"


def warned(warnings: list[str]) -> list[str]:
    lines = [f"warning  {text}" for text in warnings[:WARNINGS_SHOWN]]
    if len(warnings) > WARNINGS_SHOWN:
        lines.append(f"         ... {len(warnings) - WARNINGS_SHOWN} more (--json)")
    if lines:
        lines.append("         Warnings are no verdict: they tell what can go wrong, whether or not it did.")
    return lines


def render(exploration: Exploration, word: str) -> list[str]:
    counts, lines = exploration.counts(), []
    for failure in exploration.failures:
        lines += ["", f"  {', '.join(failure['names'])}", *(f"  {line}" for line in failure["story"])]
        if "folder" in failure:
            lines += [
                f"  found in run {failure['nth_run']}; {failure['before']} deviations from the default "
                f"schedule, {failure['after']} after {failure['tries']} tries",
                f"  left: jobs {failure['jobs']}, workers {failure['workers']}, faults {failure['faults']}",
                f"Run    {failure['folder']}",
                f"Again  dsjq-lab replay {failure['folder']}",
            ]
    lines += warned(exploration.warnings)
    runs = f"{counts['runs']} runs, {counts['distinct']} different, {coverage(counts)}, "
    runs += f"{exploration.spent_s:.1f} s"
    if exploration.refused:
        return [f"UNKNOWN  cannot be explored: {exploration.refused}",
                f"         Play it on real processes: dsjq-lab run {Path(exploration.args.what)}"]
    if word == "unknown":
        return [f"UNKNOWN  no run proved anything, in {runs}"]
    if word == "fail":
        return [*lines, "", f"FAIL   {counts['failing']} of {runs}"]
    if exploration.complete:
        bound = exploration.args.bound
        most = f"at most {bound} forced switches"
        return [*lines, f"PASS   complete: every schedule with {most} between threads",
                f"       of the broker, in {runs}"]
    return [*lines, f"PASS   no failure in {runs}", *LIMITS]
