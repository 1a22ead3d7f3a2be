"""The reference over the whole library, again and again: what it is accused of is a false alarm.

    python -m bench reference --runs 1000 --jobs 4
    python -m bench reference --runs 100 --store journal torn_journal power_loss

The runs go round the scenarios, each round with the next seed. Each is kept in a logbook (--book) as it ends,
and what is in there already is not played again: the same command goes on where an interrupted one was.
Exit 1: a run failed; 3 and 4: the worst was one without a verdict, or an unknown one.
"""
import argparse
import itertools
from collections import Counter
from pathlib import Path

from dsjq_lab import library, runs
from dsjq_lab.logbook import Logbook
from dsjq_lab.repeat import OUTCOMES, Play, Run, Series


def plays(scenarios: list[str], count: int, store: str | None, words: list[str]) -> list[Play]:
    more = [*(["--set", f"broker.store={store}"] if store else []), *words]
    rounds = ((seed, name) for seed in itertools.count(1) for name in scenarios)
    return [Play(("run", name, *more), seed) for seed, name in itertools.islice(rounds, count)]


def table(series: dict[str, list[Run]]) -> str:
    lines = [f"{'scenario':<24}" + "".join(f"{outcome:>12}" for outcome in OUTCOMES.values()) + "   seconds"]
    for name, played in series.items():
        counts = Counter(run.outcome for run in played)
        seconds = sum(run.seconds for run in played) / len(played)
        told = "".join(f"{counts[outcome] or '.':>12}" for outcome in OUTCOMES.values())
        lines.append(f"{name:<24}{told}{seconds:>10.1f}")
        reasons = Counter(", ".join(run.wrong) or run.complaint for run in played if run.exit_code)
        lines += [f"    {times} x {why}" for why, times in reasons.items()]
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench reference", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", help="all of the library if none is named")
    parser.add_argument("--runs", type=int, default=1000, metavar="N", help="in all (default: 1000)")
    parser.add_argument("--jobs", type=int, default=4, metavar="J", help="J at a time (default: 4)")
    parser.add_argument("--store", choices=["memory", "journal", "sqlite"], help="instead of the scenario's")
    parser.add_argument("--without-faults", action="store_true", help="the controls")
    parser.add_argument("--book", type=Path, default=runs.root() / "reference.jsonl", metavar="F")
    options = parser.parse_args(argv)
    scenarios = [library.find("scenarios", name).stem for name in options.scenarios] or [
        *library.contents("scenarios")
    ]
    words = ["--without-faults"] if options.without_faults else []
    series: dict[str, list[Run]] = {name: [] for name in scenarios}
    asked = plays(scenarios, options.runs, options.store, words)
    for count, (play, run) in enumerate(Logbook(options.book).played(asked, options.jobs), 1):
        series[play.words[1]].append(run)
        if run.exit_code:
            print(f"{count:>5}  {play.words[1]:<22} {run.line()}  {run.folder}", flush=True)
    played = {name: runs for name, runs in series.items() if runs}
    print(table(played))
    total = Series([run for runs in played.values() for run in runs])
    print(f"{len(total.runs)} runs: " + ", ".join(f"{n} {outcome}" for outcome, n in total.outcomes.items()))
    return total.exit_code
