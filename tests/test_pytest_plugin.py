"""Scenarios as tests of pytest, and pytest undisturbed where there are none."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PATIENCE_S = 120
GREEN = """\
# One job, done.
scenario: 1
title: Green
story: A test.
load: {jobs: 1}
broker: {ack_timeout: 1s}
"""


@pytest.fixture
def run_pytest(tmp_path: Path):
    """`pytest WORDS` in a folder of these files: (exit code, what it printed)."""
    def run(*words: str, **files: str) -> tuple[int, str]:
        folder = tmp_path / "here"
        folder.mkdir()
        for name, text in files.items():
            (folder / name.replace("__", ".")).write_text(text)
        command = [sys.executable, "-m", "pytest", "-p", "dsjq_lab.pytest_plugin", *words]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S)
        return done.returncode, done.stdout + done.stderr

    return run


def test_a_scenario_is_a_test_for_each_seed_and_runs_in_parallel(run_pytest):
    code, said = run_pytest("-v", "-n", "2", "--dsjq-seeds", "2", green__yaml=GREEN)
    assert code == 0
    assert "green.yaml::green[seed1]" in said and "green.yaml::green[seed2]" in said
    assert "2 passed" in said


def test_a_failure_is_the_verdict_and_nothing_else(run_pytest):
    code, said = run_pytest("--dsjq-broker", "zoo/p32", red__yaml=GREEN.replace("jobs: 1", "jobs: 20"))
    assert code == 1
    assert "VIOLATED   payload_intact" in said and "What happened to job" in said
    assert "Traceback" not in said and "pytest_plugin.py" not in said


NEVER = GREEN + "faults: [{when: {acked: 9}, kill: worker 1}]\n"


def test_unknown_is_a_failure_that_says_so(run_pytest):
    code, said = run_pytest(never__yaml=NEVER)
    assert code == 1
    assert "UNKNOWN" in said and "proves nothing" in said


def test_as_a_control_it_lacks_no_fault(run_pytest):
    code, said = run_pytest("--dsjq-without-faults", never__yaml=NEVER)
    assert (code, "1 passed" in said) == (0, True)


def test_a_broker_that_is_never_ready_is_a_failure_with_its_reason(run_pytest):
    command = f"{sys.executable} -c 'raise SystemExit(7)' {{port}}"
    code, said = run_pytest("--dsjq-broker-cmd", command, green__yaml=GREEN)
    assert code == 1
    assert "no verdict: broker crashed" in said and "Traceback" not in said


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "bad.yaml:2:1: error[unknown-key]: there is no 'titel' here; did you mean 'title'?"),
        (["--dsjq-broker-cmd", "mine"], "write {port} into its command"),
    ],
)
def test_what_cannot_be_played_is_an_error_of_collection(words, complaint, run_pytest):
    text = GREEN.replace("# One job, done.\n", "").replace("title", "titel" if not words else "title")
    code, said = run_pytest(*words, bad__yaml=text)
    assert code == 2
    assert complaint in said and "Traceback" not in said


def test_other_files_are_left_alone(run_pytest):
    molecule = "scenario:\n  name: default\n"
    compose = "services:\n  scenario: 1\n"
    others = {"molecule__yaml": molecule, "compose__yaml": compose, "broken__yaml": "{["}
    code, said = run_pytest(**others, test_one__py="def test_it(): pass\n")
    assert (code, "1 passed" in said) == (0, True)


def test_nobody_waits_for_it():
    heavy = "{'pydantic', 'rich', 'yaml', 'psutil', 'subprocess'}"
    code = (
        f"import sys, pytest; before = set(sys.modules); import dsjq_lab.pytest_plugin; "
        f"print(sorted({heavy} & (set(sys.modules) - before)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_a_scenario_is_explored_and_the_failure_is_its_story(run_pytest):
    red = (ROOT / "scenarios" / "worker_churn.yaml").read_text()
    code, said = run_pytest("--dsjq-explore", "8", "--dsjq-broker", "zoo/p03", red__yaml=red)
    assert code == 1
    assert "=> deadlock:" in said and "dsjq-lab replay " in said
    assert "Traceback" not in said


def test_a_scenario_that_is_explored_in_vain_passes(run_pytest):
    code, said = run_pytest("-v", "--dsjq-explore", "2", green__yaml=GREEN)
    assert code == 0
    assert "green.yaml::green[explored]" in said


def test_a_command_cannot_be_explored_and_the_file_says_so(run_pytest):
    code, said = run_pytest("--dsjq-explore", "2", "--dsjq-broker-cmd", "true {port}", green__yaml=GREEN)
    assert code != 0
    assert "cannot be explored" in said
