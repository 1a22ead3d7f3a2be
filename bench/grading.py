"""Is a grade a matter of luck, and what does it cost? The same submissions are graded in batches.

    python -m bench grading EXERCISE FOLDER [--copies 20] [--batches 3] [--jobs 2] [--hidden DIR] [--book DIR]

FOLDER holds a few submissions; each batch grades `copies` of each. Told are the seconds for a submission and
the scores of each program: it is stable if there is one, and every other is listed with what was seen. The
book is a folder with the results; the same command goes on where an interrupted one was.
"""

import argparse
import csv
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench grading", description=__doc__)
    parser.add_argument("exercise")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--copies", type=int, default=20)
    parser.add_argument("--batches", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--hidden", type=Path)
    parser.add_argument("--book", type=Path, metavar="DIR", help="where results are left; else they are lost")
    args = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as scratch:
        return measure(args, args.book or Path(scratch))


def measure(args: argparse.Namespace, place: Path) -> int:
    everybody = place / "everybody"
    programs = sorted(each for each in args.folder.iterdir() if each.is_dir())
    for program in programs:
        for number in range(args.copies):
            shutil.copytree(program, everybody / f"{program.name}--{number:03}", dirs_exist_ok=True)
    scores: dict[str, Counter[str]] = {program.name: Counter() for program in programs}
    odd, spent = [], place / "spent.csv"  # submissions and seconds, of each piece that was not interrupted
    for batch in range(args.batches):
        out = place / f"batch-{batch + 1}"
        words = [args.exercise, "--submission", everybody, "--out", out, "--jobs", args.jobs]
        words += ["--hidden", args.hidden] if args.hidden else []
        graded, took_s = grade_batch(list(map(str, words)), f"batch {batch + 1} of {args.batches}")
        with spent.open("a") as file:
            file.write(f"{graded},{took_s:.1f}\n")
        with (out / "results.csv").open(newline="") as table:
            rows = list(csv.DictReader(table))
        for row in rows:
            program = row["submission"].partition("--")[0]
            score = row["score"] or f"{row['total']}+{row['undecided']} undecided {row['grader_error']}"
            scores[program][score] += 1
            if score != scores[program].most_common(1)[0][0]:
                odd.append((batch + 1, row["submission"], score, out / f"{row['submission']}.json"))
        print(f"batch {batch + 1}: {len(rows)} submissions, {graded} of them now, {took_s:.0f} s", flush=True)
    for program, found in scores.items():
        told = ", ".join(f"{score}: {count}x" for score, count in found.most_common())
        print(f"{program:<30} {'stable  ' if len(found) == 1 else 'UNSTABLE'}  {told}")
    for batch, name, score, path in odd:
        print(f"batch {batch}, {name}: {score}")
        for check in json.loads(path.read_text())["report"]["checks"]:
            if check["verdict"] != "passed":
                print(f"    {check['name']}: {check['verdict']}: {check['evidence'][:400]}")
    pieces = [line.split(",") for line in spent.read_text().split()]
    graded, seconds = sum(int(piece[0]) for piece in pieces), sum(float(piece[1]) for piece in pieces)
    print(f"seconds for a submission: {seconds / max(1, graded):.2f}, of {graded}")
    return int(any(len(found) > 1 for found in scores.values()))


def grade_batch(words: list[str], title: str) -> tuple[int, float]:
    """Grades those that have no result; how many, and in how many seconds."""
    graded, started_s = 0, time.monotonic()
    command = [sys.executable, "-m", "dsjq_lab", "grade", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as grader:
        assert grader.stdout is not None
        for line in grader.stdout:
            if re.match(r" *\d+ of \d+ ", line):
                graded += "(graded before)" not in line
                print(f"{title}: {line}", end="", file=sys.stderr, flush=True)
    return graded, time.monotonic() - started_s


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
