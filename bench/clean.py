"""False alarms: the reference, explored in every scenario. Each is a bug of the lab, or of the reference.

    python -m bench clean --runs 50000 --jobs 2 --book clean.jsonl

The runs are spread evenly over the scenarios, a hundred seeds at a time. Each hundred is written down in the
book when it is done, and is not played again: who was interrupted starts the same command once more.
"""
import argparse
import collections
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from dsjq_lab import scenario
from dsjq_lab.sim.experiment import Experiment
from dsjq_lab.sim.library import SimUnsupported
from dsjq_lab.sim.search import Search

SCENARIOS = Path(__file__).parent.parent / "scenarios"
BLOCK = 100  # seeds


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench clean", description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5000, metavar="N", help="in all")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes")
    parser.add_argument("--book", type=Path, default=Path("clean.jsonl"), metavar="F", help="what is done")
    parser.add_argument("--only", nargs="*", metavar="SCENARIO", help="these alone")
    parser.add_argument("--block", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.block:
        print(json.dumps(played(args.block[0], int(args.block[1]))))
        return 0
    names = args.only or sorted(path.stem for path in SCENARIOS.glob("*.yaml"))
    done = read(args.book)
    blocks = [block for block in planned(names, args.runs) if block not in done]
    print(f"{len(blocks)} of {len(list(planned(names, args.runs)))} hundreds to play", file=sys.stderr)
    with ThreadPoolExecutor(args.jobs) as pool, args.book.open("a") as book:
        for row in pool.map(in_a_process, blocks):
            book.write(json.dumps(row) + "\n")
            book.flush()
            done[row["scenario"], row["first"]] = row
    return told([done[block] for block in planned(names, args.runs)])


def planned(names: list[str], runs: int) -> Iterator[tuple[str, int]]:
    """(scenario, first seed), so many hundreds of each as make up the runs."""
    for first in range(0, -(-runs // len(names)), BLOCK):
        yield from ((name, first) for name in names)


def read(book: Path) -> dict[tuple[str, int], dict[str, Any]]:
    rows = [json.loads(line) for line in book.read_text().splitlines()] if book.exists() else []
    return {(row["scenario"], row["first"]): row for row in rows}


def in_a_process(block: tuple[str, int]) -> dict[str, Any]:
    """By itself, since the order of sets must be that of every other process."""
    command = [sys.executable, "-m", "bench", "clean", "--block", block[0], str(block[1])]
    environ = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environ)
    row: dict[str, Any] = json.loads(done.stdout)
    return row


def played(name: str, first: int) -> dict[str, Any]:
    search = Search(Experiment(scenario.load(SCENARIOS / f"{name}.yaml")), seed=first)
    outcomes: collections.Counter[str] = collections.Counter()
    odd: list[list[Any]] = []
    started_s = time.process_time()
    try:
        for _ in range(BLOCK):
            seed, run = search.next_run()
            outcomes[run.outcome] += 1
            if run.failures:
                odd.append([seed, *run.failures])
    except SimUnsupported as why:
        outcomes["refused"] = BLOCK
        odd.append([str(why)])
    seconds = time.process_time() - started_s
    return {"scenario": name, "first": first, "outcomes": outcomes, "odd": odd, "cpu_s": round(seconds, 2)}


def told(rows: list[dict[str, Any]]) -> int:
    """Prints the table; 1 if there is one false alarm."""
    columns = ("pass", "unknown", "fail", "refused")
    print(f"{'':26}{''.join(f'{column:>9}' for column in columns)}   runs/CPU s")
    everything: collections.Counter[str] = collections.Counter()
    for name in sorted({row["scenario"] for row in rows}):
        mine = [row for row in rows if row["scenario"] == name]
        counts = sum((collections.Counter(row["outcomes"]) for row in mine), collections.Counter[str]())
        everything += counts
        runs, cpu_s = counts.total() - counts["refused"], sum(row["cpu_s"] for row in mine)
        figures = "".join(f"{counts[column]:9}" for column in columns)
        print(f"{name:26}{figures}   {runs / max(cpu_s, 0.01):8.0f}")
        for odd in [odd for row in mine for odd in row["odd"]][:3]:
            print(f"{'':6}{' '.join(map(str, odd))}")
    print(f"{'in all':26}{''.join(f'{everything[column]:9}' for column in columns)}")
    return 1 if everything["fail"] else 0
