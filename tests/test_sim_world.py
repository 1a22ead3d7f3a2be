"""The explored world as a whole, with scenarios, clients and judge of the live one; failures found."""
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from playing import scenario as story

from dsjq_lab import cli, runs, scenario
from dsjq_lab.brokers import Dsjq
from dsjq_lab.results import judged
from dsjq_lab.sim import explore as exploring
from dsjq_lab.sim import stacks, stored
from dsjq_lab.sim.experiment import Experiment, excused
from dsjq_lab.sim.library import SimUnsupported
from dsjq_lab.sim.search import Search
from dsjq_lab.sim.shrink import with_jobs
from dsjq_lab.sim.strategies import STRATEGIES, Default, mix
from dsjq_lab.variation import Variation
from dsjq_lab.verdict import UNKNOWN, VIOLATED, Verdict

ROOT = Path(__file__).parent.parent
ANSWERS = yaml.safe_load((ROOT / "zoo" / "answers.yaml").read_text())
RUNS_TO_DETECTION = 20
SCENARIOS = sorted((ROOT / "scenarios").glob("*.yaml"))
DOORS = {path.stem for path in SCENARIOS
         if (options := scenario.load(path).broker).tls or options.users}
REFUSED = {"fd_limit", "memory_limit"} | DOORS  # this world has no limits
JOBS = {"starvation": 90}  # a job starves only where there are many


def experiment(name: str, patient: str = "", jobs: int = 10, changes: tuple[str, ...] = ()) -> Experiment:
    played = Variation(changes).load(ROOT / "scenarios" / f"{name}.yaml")
    broker = Dsjq(ROOT / "zoo" / f"{patient}.py" if patient else None)
    return Experiment(with_jobs(played, min(jobs, played.load.jobs)), broker)


@pytest.mark.parametrize("path", [path for path in SCENARIOS if path.stem not in REFUSED],
                         ids=lambda path: path.stem)
def test_each_scenario_plays_to_its_end_and_the_reference_passes(path):
    whole = Experiment(scenario.load(path))
    for strategy in (Default(0), mix(1), mix(2)):
        run = whole.play(strategy)
        assert run.failures == ()
    assert whole.play(Default(0)).result.outcome == "pass"


@pytest.mark.parametrize("name", ["bit_rot", "broker_crash", "disk_full", "file_limit", "lost_submit_reply",
                                  "power_loss"])
def test_in_memory_is_lost_what_the_scenario_says_though_no_disk_can_fail(name):
    result = experiment(name, jobs=100, changes=("broker.store=memory",)).play(Default(0)).result
    lost = {ruling.verdict.invariant for ruling in result.with_standing("expected")}
    assert result.outcome == "pass" and lost == {"no_lost_job", "everything_finishes"}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_cannot_be_simulated_is_refused_by_name(name):
    with pytest.raises(SimUnsupported, match=r"^(no door |(fd|memory)_limit: ).*dsjq-lab run"):
        experiment(name).play(Default(0))


def test_a_partitioned_link_holds_what_is_said_until_it_is_healed():
    """The twin of the proxy keeps the same record: what was said meanwhile came, and left later."""
    run = experiment("network_partition").play(Default(0))
    said = [op for op in run.world.ops if op.f == "message"]
    assert run.outcome == "pass"
    assert any(op.value["left_ns"] is None or op.value["left_ns"] > op.time_ns for op in said)
    assert any(op.value["left_ns"] == op.time_ns for op in said)


@pytest.mark.parametrize("patient", sorted(name for name, answer in ANSWERS.items()
                                           if answer["run"] not in REFUSED))
def test_each_patient_is_found_soon(patient):
    answer = ANSWERS[patient]
    jobs, changes = JOBS.get(answer["run"], 20), tuple(answer.get("set", ()))
    search = Search(experiment(answer["run"], patient, jobs, changes))
    while search.runs < RUNS_TO_DETECTION:
        _, run = search.next_run()
        if set(answer["caught_by"]) & set(run.failures):
            return
    pytest.fail(f"not found in {RUNS_TO_DETECTION} runs")


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_a_run_repeats_from_its_seed_and_from_its_schedule(strategy):
    churn = experiment("worker_churn", jobs=5)
    first, second = (churn.play(STRATEGIES[strategy](3, 5000)) for _ in range(2))
    assert first.digest == second.digest == churn.replay(first.schedule).digest


def test_who_stood_still_for_longer_than_a_lease_accuses_nobody():
    twice = Verdict("effect_once", VIOLATED, "job j1 had its effect twice")
    for stalled_ns, status in ((0, VIOLATED), (2 * 10**9, UNKNOWN)):
        model = SimpleNamespace(end=SimpleNamespace(epsilon_ns=stalled_ns),
                                header=SimpleNamespace(ack_timeout_ns=10**9))
        assert excused(twice, model).status == status
        lost = twice._replace(invariant="no_lost_job")
        assert excused(lost, model) == lost


def test_what_a_scenario_expects_need_not_happen_in_every_interleaving():
    """Restarted after its last job is done, a broker in memory loses nothing."""
    late = experiment("broker_restart", jobs=1).play(Default(0))
    assert late.result.outcome in ("fail", "unknown")
    assert late.outcome != "fail"


def test_seeds_take_different_courses():
    churn = experiment("worker_churn", jobs=3)
    assert len({churn.play(mix(seed)).digest for seed in range(8)}) > 5


@pytest.mark.parametrize("kind", [stacks.Threaded, stacks.Green])
def test_a_stack_has_all_of_its_depth_whoever_began_it(kind: Any) -> None:
    def begun(number: int) -> Any:
        return kind(lambda: deep(20, number))

    def deep(frames: int, number: int) -> Any:
        if frames:
            return deep(frames - 1, number)
        if number < len(chain) - 1:
            chain[number].switch(chain[number + 1])
        return chain[number - 1]

    chain = [kind(), *(begun(number) for number in range(1, 100))]
    chain[0].switch(chain[1])


@pytest.mark.parametrize("kind", [stacks.Threaded, stacks.Green])
def test_threads_and_greenlets_run_the_same_to_the_byte(kind, monkeypatch):
    churn = experiment("worker_churn", jobs=5)
    usual = [churn.play(mix(seed)).digest for seed in range(4)]
    monkeypatch.setattr(stacks, "chosen", lambda: kind)
    assert [churn.play(mix(seed)).digest for seed in range(4)] == usual


def all_pythons() -> list[str]:
    """Of this machine, if they have what the lab needs; DSJQ_PYTHONS may name more, apart by colons."""
    found = [shutil.which(f"python3.{minor}") for minor in range(11, 15)]
    named = os.environ.get("DSJQ_PYTHONS", "").split(":")
    needs = [sys.executable, "-c", "import pydantic, yaml, psutil, rich, pytest"]
    return [sys.executable, *(path for path in (*found, *named)
            if path and not subprocess.run([path, *needs[1:]], capture_output=True, check=False).returncode)]


def test_a_seed_has_one_digest_in_every_interpreter_and_version():
    """Neither the order of strings in sets nor that of addresses gets into a run, nor the Python version."""
    code = ("import sys; sys.path[:0] = sys.argv[1:]; from test_sim_world import experiment, mix;"
            "print(experiment('hung_worker', jobs=4).play(mix(1)).digest)")
    folders = [str(ROOT / "tests"), str(ROOT), str(ROOT / "harness")]
    told = {(python, size): subprocess.run(
                [python, "-c", code, *folders], capture_output=True, text=True, check=True,
                env={**os.environ, "PYTHONHASHSEED": "0", "PADDING": "x" * size}).stdout
            for python, size in [(sys.executable, 1), *((path, 5000) for path in all_pythons())]}
    assert len(set(told.values())) == 1, told


@pytest.fixture(scope="module")
def failure():
    """Patient 3 takes two locks in opposite orders."""
    search = Search(experiment("worker_churn", "p03"))
    found = search.until(lambda: search.runs > RUNS_TO_DETECTION)
    assert found is not None
    return found


def test_a_failure_is_shrunk_to_little(failure):
    assert failure.names[0] == "deadlock"
    assert len(failure.schedule) <= 8
    assert failure.experiment.scenario.load.jobs < 10
    run = failure.experiment.replay(failure.schedule)
    assert (run.digest, run.failures[0]) == (failure.digest, "deadlock")


def test_the_handbook_s_race_is_found_shrunk_and_told_by_its_line():
    model = ROOT / "tests" / "models" / "two_steps.py"
    assert model.read_text() in (ROOT / "LAB.md").read_text()
    played = with_jobs(scenario.load(ROOT / "scenarios" / "worker_churn.yaml"), 20)
    search = Search(Experiment(played, Dsjq(model)))
    found = search.until(lambda: search.runs > RUNS_TO_DETECTION)
    assert found is not None
    assert len(found.schedule) <= 2
    told = "\n".join(stored.story(*stored.tell(found.experiment, found.schedule)))
    assert "stands still for 0.010 s at two_steps.py:18 execute  with self.lock:" in told
    assert "not PENDING" in told


def test_the_search_stops_when_there_is_nothing_to_find():
    search = Search(experiment("first_job"))
    assert search.until(lambda: search.runs >= 3) is None
    assert search.runs == 3


def lab(*words: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "harness")])
    return subprocess.run([sys.executable, "-m", "dsjq_lab", *words], capture_output=True, text=True,
                          cwd=ROOT, timeout=240, env={**os.environ, "PYTHONPATH": paths})


def test_explore_finds_shrinks_tells_and_stores_and_replay_repeats():
    found = lab("explore", "worker_churn", "--broker", "zoo/p03", "--runs", "8", "--jobs", "1", "--json")
    assert found.returncode == 1, found.stderr
    told = json.loads(found.stdout)
    assert told["outcome"] == "fail"
    (failure,) = told["failures"]
    assert (told["failing"], told["runs"]) == (1, failure["nth_run"])
    assert failure["names"][0] == "deadlock"
    assert any("waits for lock@p03.py" in line for line in failure["story"])
    assert len(failure["story"]) <= 12
    folder = Path(failure["folder"])
    assert judged(folder).outcome == "fail"  # its history is a history like any other
    again = lab("replay", str(folder))
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith("worker_churn, broker ") and "The same run to the byte" in again.stdout
    retold = json.loads(lab("replay", str(folder), "--json").stdout)
    assert retold["same"] and retold["failures"] == failure["names"] and retold["findings"]
    step = lab("replay", str(folder), "--step")
    assert "holds lock@" in step.stdout


def test_a_reader_of_replay_may_leave(tmp_path):
    found = lab("explore", "worker_churn", "--broker", "zoo/p03", "--runs", "2", "--jobs", "1", "--json",
                "--set", "load.jobs=6", "--out", str(tmp_path))
    (failure,) = json.loads(found.stdout)["failures"]
    folder = Path(failure["folder"])
    assert folder.is_relative_to(tmp_path)
    assert json.loads(found.stdout)["warnings"]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "harness")])
    replay = subprocess.Popen([sys.executable, "-m", "dsjq_lab", "replay", str(folder), "--step"],
                              env={**os.environ, "PYTHONPATH": paths}, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
    with replay:
        replay.stdout.close()  # before it has said anything
        assert replay.stderr.read() == ""


def test_a_child_that_is_silent_is_killed_and_that_is_a_verdict(tmp_path, monkeypatch):
    """In a call into C that does not end in our time, no point is passed, and nothing can interrupt it."""
    monkeypatch.setattr(exploring, "SILENCE_S_MAX", 8.0)
    broker = tmp_path / "broker.py"
    broker.write_text("import itertools\nall(itertools.repeat(True))\n")
    words = ["first_job", "--broker", str(broker), "--runs", "1", "--jobs", "1"]
    exploration = exploring.Exploration(exploring.as_asked(*words, quiet=True))
    exploration.run()
    assert exploration.outcome() == ("fail", 1)
    assert exploration.failures[0]["names"] == ["endless"]
    assert [child.process.poll() for child in exploration.children] == [-signal.SIGKILL]


def test_what_is_not_wanted_does_not_count():
    deadlocks = experiment("worker_churn", "p03")
    assert Search(deadlocks, wanted=["deadlock"]).next_run()[1].failures == ("deadlock",)
    assert Search(deadlocks, wanted=["acked_once"]).next_run()[1].failures == ()


def test_a_live_failure_is_found_again_and_shrunk():
    told = lab("run", "worker_churn", "--broker", "zoo/p32", "--set", "load.jobs=12", "--plain", "--shrink")
    assert told.returncode == 1, told.stderr
    assert "The same, in the explored world:" in told.stdout
    again = told.stdout.partition("The same, in")[2].partition("dsjq-lab replay ")[2].split()[0]
    folder = Path(again)
    assert folder.parent.name == "worker_churn"
    assert stored.load(folder).experiment.scenario.load.jobs < 12


def test_explore_says_that_it_found_nothing_and_no_more():
    result = lab("explore", "first_job", "--runs", "4", "--jobs", "2")
    assert result.returncode == 0, result.stderr
    assert "no failure in 4 runs" in result.stdout
    assert "evidence, not proof" in result.stdout


def test_only_the_exhaustive_search_says_complete_and_names_its_bound():
    result = lab("explore", "first_job", "--exhaustive", "--bound", "0")
    assert result.returncode == 0, result.stderr
    assert "complete: every schedule with at most 0 forced switches" in result.stdout
    assert "1 runs" in result.stdout


def test_a_broker_of_its_own_is_explored_as_it_stands(tmp_path):
    """Plain threading and socketserver, and a lock that is missing."""
    broker = tmp_path / "broker.py"
    broker.write_text(OWN_BROKER)
    own = Experiment(with_jobs(scenario.load(ROOT / "scenarios" / "first_job.yaml"), 1), Dsjq(broker))
    assert own.play(Default(0)).result.outcome == "pass"


def test_what_cannot_be_simulated_is_named_with_what_to_do_instead(tmp_path):
    broker = tmp_path / "broker.py"
    broker.write_text("import subprocess\nsubprocess.run(['true'])\n")
    result = lab("explore", "first_job", "--broker", str(broker), "--runs", "1")
    assert result.returncode == 4
    assert "module 'subprocess' is not simulated" in result.stdout
    assert "dsjq-lab run first_job" in result.stdout


def test_a_broker_that_crashes_at_its_start_is_no_verdict(tmp_path):
    broker = tmp_path / "broker.py"
    broker.write_text("raise SystemExit('no config')\n")
    result = lab("explore", "first_job", "--broker", str(broker), "--runs", "1")
    assert result.returncode == 3
    assert "no config" in result.stderr


def test_an_endless_broker_ends_in_a_verdict(tmp_path, monkeypatch):
    monkeypatch.setattr("dsjq_lab.sim.kernel.STEPS_MAX", 20_000)
    broker = tmp_path / "broker.py"
    broker.write_text("n = 0\nwhile True:\n    n += 1\n")
    run = Experiment(scenario.load(ROOT / "scenarios" / "first_job.yaml"), Dsjq(broker)).play(Default(0))
    assert run.failures == ("endless",)


def test_a_broker_that_refuses_for_a_second_is_not_called_endless():
    full = experiment("disk_full", "p20", jobs=20, changes=("workers.count=1",)).play(Default(0))
    refusals = [op.error for op in full.world.ops if op.f == "reserve" and op.error]
    assert "ERROR STORAGE the disk is full" in refusals and "endless" not in full.failures


def test_a_live_run_cannot_be_replayed_and_says_so(tmp_path, capsys):
    folder = runs.new_folder("first_job")
    (folder / "history.jsonl").write_text("{}\n")
    assert cli.main(["replay", str(folder)]) == 2
    assert stored.SCHEDULE in capsys.readouterr().err


OWN_BROKER = '''"""One job queue in a class of socketserver."""
import argparse, socketserver, threading
parser = argparse.ArgumentParser()
for option in ("--host", "--port", "--ack-timeout", "--max-attempts"):
    parser.add_argument(option)
options = parser.parse_args()
lock, jobs, pending = threading.Lock(), {}, []


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(self.answer(*line.decode().rstrip("\\n").partition(" ")[::2]).encode() + b"\\n")

    def answer(self, verb, rest):
        with lock:
            if verb == "SUBMIT":
                jobs[len(jobs) + 1] = rest
                pending.append(len(jobs))
                return f"JOB_ID {len(jobs)}"
            if verb == "REQUEST":
                return f"JOB {pending[0]} {jobs[pending.pop(0)]}" if pending else "EMPTY"
            return "OK" if verb == "ACK" else f"ERROR UNKNOWN_COMMAND {verb}"


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = allow_reuse_address = True


Server((options.host, int(options.port)), Handler).serve_forever(poll_interval=60)
'''


def test_the_journal_plays_unmodified_on_the_simulated_disk():
    played = scenario.load(ROOT / "scenarios" / "broker_restart.yaml", ["broker.store=journal"])
    for strategy in (Default(0), mix(1)):
        run = Experiment(played).play(strategy)
        verdicts = {ruling.verdict.invariant: ruling.verdict.status for ruling in run.result.rulings}
        assert verdicts["no_lost_job"] == verdicts["everything_finishes"] == "holds"
    assert run.world.disk.exists("/lab/data/journal")


ANSWERS_BEFORE_FSYNC = '''"""dsjq --data, which answers before its records are safe."""
import sys
from dsjq import cli
from dsjq.extensions.journal import Journal
Journal.wait = lambda self, position: None
cli.main(["serve", *sys.argv[1:]])
'''


def power_cuts(tmp_path: Path, file: Path | None = None) -> Search:
    faults = "[{when: {acked: 3}, power_loss: broker, restart_after: 100ms}]"
    path = story(tmp_path, faults, jobs=12, rate="200/s")
    return Search(Experiment(scenario.load(path, ["broker.store=journal"]), Dsjq(file)))


def test_what_was_confirmed_survives_a_power_cut(tmp_path):
    search = power_cuts(tmp_path)
    while search.runs < 12:
        _, run = search.next_run()
        assert run.failures == ()


def test_an_answer_before_fsync_is_found_out_by_a_power_cut(tmp_path):
    broker = tmp_path / "broker.py"
    broker.write_text(ANSWERS_BEFORE_FSYNC)
    search = power_cuts(tmp_path, broker)
    while search.runs < RUNS_TO_DETECTION:
        _, run = search.next_run()
        if {"no_lost_job", "done_is_final"} & set(run.failures):
            return
    pytest.fail(f"not found in {RUNS_TO_DETECTION} runs")
