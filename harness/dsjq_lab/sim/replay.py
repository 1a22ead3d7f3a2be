"""`dsjq-lab replay RUN`: an explored failure once more, told by source line.

Runs in a process of its own, as exploring does, since the order of sets must be the same (child.py).
`python -m dsjq_lab.sim.replay FOLDER [--step] [--json]`.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from dsjq_lab import runs
from dsjq_lab.history import read_history
from dsjq_lab.sim import stored

SAME, DIFFERENT = 0, 3


def main(args: argparse.Namespace) -> int:
    """The exit code of `dsjq-lab replay`."""
    folder = runs.find(args.what)
    stored.load(folder)  # complains before a process is started
    options = [option for option, given in (("--step", args.step), ("--json", args.json)) if given]
    command = [sys.executable, "-m", "dsjq_lab.sim.replay", str(folder), *options]
    code = subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": "0"}, check=False).returncode
    if code == -signal.SIGPIPE:
        raise BrokenPipeError  # nobody reads on
    return code


def replay(folder: Path, step: bool, as_json: bool) -> int:
    experiment, schedule, digest, names = stored.load(folder)
    teller, run = stored.tell(experiment, schedule, full=step)
    steps = stored.steps(teller, run)
    same = run.digest == digest
    name, broker = read_history(folder / "history.jsonl").header.scenario, experiment.broker.name
    if as_json:
        result: dict[str, Any] = {"scenario": name, "broker": broker, "failures": names}
        result |= {"steps": [told._asdict() for told in steps], "findings": list(stored.findings(run))}
        print(json.dumps({**result, "digest": run.digest, "same": same}, indent=2))
        return SAME if same else DIFFERENT
    print(f"{name}, broker {broker}: {', '.join(names)}")
    print(f"{len(schedule)} deviations from the default schedule, {experiment.scenario.load.jobs} jobs\n")
    for told in steps:
        print(told.line())
        if step:
            print(f"{'':11}{told.source}" if told.source else "", *told.state, sep=f"\n{'':11}")
            if sys.stdin.isatty():
                input()
    print(*stored.findings(run), sep="\n")
    if not same:
        print(f"\nNOT the same run: {run.digest}, and {digest} when it was stored. Has the source changed?")
        return DIFFERENT
    print(f"\nThe same run to the byte ({digest}).")
    return SAME


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `replay RUN | head` ends it, without a word
    sys.exit(replay(Path(sys.argv[1]), "--step" in sys.argv, "--json" in sys.argv))
