"""Races and lock orders are seen in runs in which they do no harm; and none where there is none."""
from pathlib import Path

import pytest

from dsjq_lab import scenario
from dsjq_lab.brokers import Dsjq
from dsjq_lab.sim.detectors import Detectors
from dsjq_lab.sim.experiment import Experiment
from dsjq_lab.sim.loader import Loader
from dsjq_lab.sim.program import run_program
from dsjq_lab.sim.strategies import Default, mix

ROOT = Path(__file__).parent.parent
MODELS = ROOT / "tests" / "models"


def watched(model: str, *arguments: str) -> Detectors:
    detectors, loader = Detectors(), Loader([MODELS], accesses=True)
    run = run_program(MODELS / f"{model}.py", loader=loader, arguments=arguments, watcher=detectors)
    assert run.failures == ()  # nothing went wrong in this run
    return detectors


def test_a_race_is_seen_although_it_did_no_harm():
    (race,) = watched("lost_update").races
    assert race.startswith("Number.value:") and "lost_update.py:13" in race


def test_a_lock_orders_what_it_protects():
    assert watched("lost_update", "locked").races == []


def test_opposite_orders_are_seen_although_nobody_waited():
    (inversion,) = watched("opposite_orders").inversions
    assert "the other way round" in inversion


@pytest.mark.parametrize("text", [
    "import queue\nq = queue.Queue()\nsend, receive = lambda: q.put(1), lambda: q.get()",
    "import threading\ne = threading.Event()\nsend, receive = e.set, e.wait",
    "import threading\ns = threading.Semaphore(0)\nsend, receive = s.release, s.acquire",
    "import socket\na, b = socket.socketpair()\nsend, receive = lambda: a.sendall(b'x'), lambda: b.recv(1)",
], ids=["queue", "event", "semaphore", "socket"])
def test_a_message_orders_what_came_before_it(tmp_path, text):
    path = tmp_path / "program.py"
    path.write_text(text + """
import threading
class Box: pass
box = Box()
def give():
    box.content = 1
    send()
def take():
    receive()
    print(box.content)
threads = [threading.Thread(target=give), threading.Thread(target=take)]
for thread in threads: thread.start()
for thread in threads: thread.join()
""")
    detectors = Detectors()
    run = run_program(path, loader=Loader([tmp_path], accesses=True), watcher=detectors)
    assert (run.output, detectors.races) == ("1\n", [])


def warnings(patient: str, seeds: range) -> tuple[set[str], set[str]]:
    played = scenario.load(ROOT / "scenarios" / "worker_churn.yaml")
    broker = Dsjq(ROOT / "zoo" / f"{patient}.py" if patient else None)
    experiment = Experiment(played, broker, Loader([ROOT, ROOT / "zoo"], accesses=True))
    races, inversions = set(), set()
    for seed in seeds:
        detectors = Detectors()
        experiment.play(mix(seed) if seed else Default(0), detectors)
        races |= set(detectors.races)
        inversions |= set(detectors.inversions)
    return races, inversions


def test_the_reference_has_neither():
    assert warnings("", range(4)) == (set(), set())


def test_the_opposite_orders_of_patient_3_are_seen_in_the_first_run():
    assert warnings("p03", range(1))[1]


def test_the_pop_without_a_lock_of_patient_1_is_seen_in_the_first_run():
    assert any("queue" in race.lower() for race in warnings("p01", range(1))[0])
