"""How soon the explorer finds each planted race, and how short it tells it.

    python -m bench shrink                          # the brokers below, three times each
    python -m bench shrink p07 two_steps --times 5 --tell

They are patients of the zoo, and the race of the handbook, which has no pause to make it likely. Each time
begins at another seed. Runs and seconds (of processor time) until one fails as it should; then the deviations
of that run from the default schedule, and of the smallest that fails in the same way; what that took; and the
lines of its story. The last row has the medians over all, and the numbers to reach.
"""
import argparse
import gc
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

from dsjq_lab import library, zoo
from dsjq_lab.brokers import Dsjq
from dsjq_lab.sim import stored
from dsjq_lab.sim.child import SHRINK_S
from dsjq_lab.sim.experiment import Experiment
from dsjq_lab.sim.search import Search
from dsjq_lab.variation import Variation

RACES = ("p01", "p02", "p03", "p04", "p05", "p07", "p08", "p09", "p11", "p12", "p15", "p19", "p20",
         "two_steps")
MODELS = Path(__file__).parent.parent / "tests" / "models"
RUNS_MAX, STRIDE = 1000, 10_000
TO_REACH = ("20", "1.0", "", "8", "", "2.0", "12")
HEAD = ("runs", "s", "before", "after", "tries", "s", "lines")


class Case(NamedTuple):
    runs: float
    find_s: float
    before: float
    after: float
    tries: float
    shrink_s: float
    lines: float


def search_of(name: str, seed: int) -> Search:
    """Of what is wrong with a patient; or with a model of the handbook, where anything counts."""
    answer = zoo.answers().get(name)
    if answer is None:
        played = Variation().load(library.find("scenarios", "worker_churn"))
        return Search(Experiment(played, Dsjq(MODELS / f"{name}.py")), seed=seed)
    played = Variation(tuple(answer.get("set", ()))).load(library.find("scenarios", answer["run"]))
    broker = Dsjq(library.find("zoo", name))
    return Search(Experiment(played, broker), seed=seed, wanted=[*answer["caught_by"], "deadlock"])


def case(name: str, seed: int, *, tell: bool = False) -> Case:
    search = search_of(name, seed)
    started_s = time.process_time()
    for _ in range(RUNS_MAX):
        seed, run = search.next_run()
        if run.failures:
            break
    found_s = time.process_time()
    failure = search.examined(seed, run, SHRINK_S)
    shrunk_s = time.process_time()
    story = stored.story(*stored.tell(failure.experiment, failure.schedule))
    if tell:
        print(*story, sep="\n")
    return Case(search.runs, found_s - started_s, failure.deviations, len(failure.schedule), failure.tries,
                shrunk_s - found_s, len(story))  # fmt: skip


def row(name: str, values: tuple[float, ...]) -> str:
    return f"{name:10}" + "".join(f"{value:9.1f}" for value in values)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench shrink", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("brokers", nargs="*", default=RACES)
    parser.add_argument("--times", type=int, default=3, metavar="N", help="(default: 3)")
    parser.add_argument("--tell", action="store_true", help="print each story")
    options = parser.parse_args(argv)
    gc.disable()
    print(f"{'':10}" + "".join(f"{name:>9}" for name in HEAD))
    cases: list[Case] = []
    for name in options.brokers:
        mine = [case(name, STRIDE * time_, tell=options.tell) for time_ in range(options.times)]
        print(row(name, tuple(map(median, zip(*mine, strict=True)))), flush=True)
        cases += mine
    print(row("median", tuple(map(median, zip(*cases, strict=True)))))
    print(f"{'to reach':10}" + "".join(f"{value:>9}" for value in TO_REACH))
    return 0
