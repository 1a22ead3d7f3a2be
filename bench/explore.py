"""How fast the explorer is, at twenty jobs on the real broker: runs in a second of processor time.

    python -m bench explore

A figure is the best of eight slices, since others may be at work here. Above them is what this machine needs
for a call of an empty function: figures of two machines, or two hours, compare only by it.
"""
import gc
import time
import timeit
from pathlib import Path

from dsjq_lab.sim import stacks
from dsjq_lab.sim.experiment import Experiment
from dsjq_lab.sim.search import Search
from dsjq_lab.variation import Variation

SCENARIOS = Path(__file__).parent.parent / "scenarios"
SIZES = (("first_job", 1), ("first_job", 20), ("worker_churn", 20), ("worker_churn", 40))
SLICES, RUNS = 8, 8


def main(argv: list[str]) -> int:
    gc.disable()
    call_ns = min(timeit.repeat("f()", "def f(): pass", number=200_000)) / 200_000 * 1e9
    print(f"stacks: {stacks.chosen().__name__.lower()}; a call takes {call_ns:.0f} ns")
    for name, jobs in SIZES:
        search = Search(Experiment(Variation((f"load.jobs={jobs}",)).load(SCENARIOS / f"{name}.yaml")))
        search.next_run()
        points = switches = 0
        slices = []
        for _ in range(SLICES):
            started_s = time.process_time()
            for _ in range(RUNS):
                _, run = search.next_run()
                points, switches = points + run.kernel.steps, switches + len(run.kernel.trail)
            slices.append(time.process_time() - started_s)
        runs = SLICES * RUNS
        print(f"{name:14} {jobs:3} jobs {RUNS / min(slices):6.1f} runs/CPU s "
              f"{points // runs:7} points {switches // runs:6} switches")
    return 0
