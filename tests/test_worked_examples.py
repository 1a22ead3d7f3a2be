"""The instructor's examples in docs/examples do what LAB.md says of them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dsjq_lab.brokers import Command
from dsjq_lab.grading import exercise, judge
from dsjq_lab.grading.results import FAILED, PASSED

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "docs" / "examples"
REFERENCE = Command(f"{sys.executable} -m dsjq serve --port {{port}}")
STARTER = Command(f"{sys.executable} {ROOT}/exercises/starters/python/broker.py --port {{port}}")


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("DSJQ_RUNS", str(tmp_path / "runs"))


@pytest.fixture
def patched(tmp_path):
    """Applies a patch to a copy of the tree, and runs Python there."""
    for name in ("dsjq", "harness", "scenarios", "zoo"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("LAB.md", "docs/protocol.md", "tests/histories.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)

    def play(patch, *words):
        subprocess.run(["git", "apply", EXAMPLES / patch], cwd=tmp_path, check=True)
        here = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": f"{tmp_path}:{tmp_path / 'harness'}"}}
        said = {"capture_output": True, "text": True, "check": False}
        return [subprocess.run([sys.executable, "-m", *line.split()], **here, **said) for line in words]

    return play


def test_a_checker_of_one_s_own(patched):
    (done,) = patched("own-checker.patch", "pytest -q -p no:cacheprovider tests/test_decimal_ids.py")
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_a_fault_of_one_s_own(patched):
    explore = "dsjq_lab explore frozen_worker --runs 3 --jobs 1"
    sound, ill, told = patched(
        "own-fault.patch", explore, f"{explore} --broker zoo/p10", "dsjq_lab explain freeze"
    )
    assert sound.returncode == 0 and "no failure in 3 runs" in sound.stdout, sound.stdout + sound.stderr
    assert ill.returncode == 1 and "redelivered_in_time" in ill.stdout, ill.stdout + ill.stderr
    assert "somebody switches it off" in told.stdout


def test_an_exercise_of_one_s_own_and_its_hidden_folder():
    own = exercise.load(EXAMPLES / "own-exercise", EXAMPLES / "own-exercise-hidden")
    assert (own.points, [asked.hidden for asked in own.checks]) == (12, [False, False, True])
    first, _, last = own.checks  # the story between them is played by hand
    assert [judge.judge(asked, REFERENCE).verdict for asked in (first, last)] == [PASSED, PASSED]
    assert judge.judge(first, STARTER).verdict == FAILED


def test_it_is_in_the_list_where_the_handbook_says(tmp_path, monkeypatch):
    shutil.copytree(EXAMPLES / "own-exercise", tmp_path / "exercises" / "own" / "01-empty-queue")
    monkeypatch.chdir(tmp_path)
    assert exercise.load(exercise.find("own/1")).title == "The empty queue"
