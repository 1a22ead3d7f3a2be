"""`dsjq-lab replay RUN`: an explored failure once more, told by source line.

Runs in a process of its own, as exploring does, since the order of sets must be the same (child.py).
`python -m dsjq_lab.sim.replay FOLDER [--step]`.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from dsjq_lab import runs
from dsjq_lab.sim import stored
from dsjq_lab.sim.story import Teller

SAME, DIFFERENT = 0, 3


def main(args: argparse.Namespace) -> int:
    """The exit code of `dsjq-lab replay`."""
    folder = runs.find(args.what)
    stored.load(folder)  # complains before a process is started
    command = [sys.executable, "-m", "dsjq_lab.sim.replay", str(folder), *(["--step"] if args.step else [])]
    return subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": "0"}, check=False).returncode


def replay(folder: Path, step: bool) -> int:
    experiment, schedule, digest, names = stored.load(folder)
    teller = Teller(schedule, experiment.loader, full=step)
    run = experiment.play(teller)
    print(f"{experiment.scenario.name}, broker {experiment.broker.name}: {', '.join(names)}")
    print(f"{len(schedule)} deviations from the default schedule, {experiment.scenario.load.jobs} jobs\n")
    for told in teller.steps_told:
        print(told.line())
        if step:
            print(f"{'':11}{told.source}" if told.source else "", *told.state, sep=f"\n{'':11}")
            if sys.stdin.isatty():
                input()
    print(*stored.findings(run), sep="\n")
    if run.digest != digest:
        print(f"\nNOT the same run: {run.digest}, and {digest} when it was stored. Has the source changed?")
        return DIFFERENT
    print(f"\nThe same run to the byte ({digest}).")
    return SAME


if __name__ == "__main__":
    sys.exit(replay(Path(sys.argv[1]), "--step" in sys.argv))
