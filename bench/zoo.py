"""How often each patient of the zoo is caught, with the right invariant named, where its file says so.

A run counts only if an invariant of zoo/answers.yaml is violated; that something else is, is not enough.
A patient has escaped if no run caught it: most bugs are races, and one run proves nothing for them.
"""
import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ZOO = Path(__file__).parents[1] / "zoo"
LAB = [sys.executable, "-m", "dsjq_lab", "run"]
OPTIONS = "--port {port} --ack-timeout {ack_timeout}s --max-attempts {max_attempts}"


Answer = dict[str, Any]


def play(name: str, answer: Answer, repeat: int, jobs: int, black_box: bool) -> tuple[int, list[str]]:
    """In how many of the runs it was caught rightly; what was violated, and why runs have no verdict."""
    file = f"{ZOO / name}.py"
    broker = ["--broker-cmd", f"{sys.executable} {file} {OPTIONS}"] if black_box else ["--broker", file]
    changes = [word for change in answer.get("set", []) for word in ("--set", change)]
    how_often = ["--repeat", f"{repeat}", "--jobs", f"{jobs}", "--json"]
    command = [*LAB, answer["run"], *changes, *broker, *how_often]
    done = subprocess.run(command, capture_output=True, text=True)
    result = json.loads(done.stdout)
    right = set(answer["black_box" if black_box else "caught_by"])
    complaints = [run["complaint"] for run in result["runs"] if not run["wrong"]]
    return sum(bool(right & set(run["wrong"])) for run in result["runs"]), [*result["wrong"], *complaints]


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench zoo", description=__doc__)
    parser.add_argument("patients", nargs="*", help="all of them if none is named")
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--black-box", action="store_true", help="through --broker-cmd")
    options = parser.parse_args(argv)
    answers: dict[str, Answer] = yaml.safe_load((ZOO / "answers.yaml").read_text())
    names = options.patients or [n for n in answers if not options.black_box or "black_box" in answers[n]]
    escaped = 0
    for name in names:
        scenario = answers[name]["run"]
        caught, said = play(name, answers[name], options.repeat, options.jobs, options.black_box)
        escaped += caught == 0
        print(f"{name}  {caught:3} of {options.repeat}  {scenario:17}", *said, flush=True)
    return int(escaped > 0)
