"""The zoo is in order: every patient has an answer, and the quick ones are caught here and now.

All of them, twenty times over and as black boxes too: `python -m bench zoo`.
"""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dsjq_lab.checkers import CHECKERS

ROOT = Path(__file__).parents[1]
ZOO = ROOT / "zoo"
ANSWERS: dict[str, dict[str, object]] = yaml.safe_load((ZOO / "answers.yaml").read_text())
PATIENTS = sorted(ZOO.glob("p*.py"))
QUICK = ["p33", "p35"]
HELD_BY_THE_LEDGER = {"effect_once"}  # what the world keeps, no broker can break alone
SPOILERS = re.compile(r"\b(bug|wrong|broken|forgets?|race|deadlock|without (the|a) lock|too (late|early))\b")


def names(value: object) -> list[str]:
    assert isinstance(value, list)
    return value


def test_every_patient_has_an_answer_and_every_answer_a_patient() -> None:
    assert list(ANSWERS) == [path.stem for path in PATIENTS]


def test_every_invariant_has_a_patient() -> None:
    caught_by = {invariant for answer in ANSWERS.values() for invariant in names(answer["caught_by"])}
    assert caught_by == {checker.name for checker in CHECKERS} - HELD_BY_THE_LEDGER


@pytest.mark.parametrize("path", PATIENTS, ids=lambda path: path.stem)
def test_a_file_names_its_scenario_and_does_not_give_itself_away(path: Path) -> None:
    story = ast.get_docstring(ast.parse(path.read_text())) or ""
    answer = ANSWERS[path.stem]
    assert (ROOT / "scenarios" / f"{answer['run']}.yaml").is_file()
    changes = "".join(f" --set {change}" for change in names(answer.get("set", [])))
    assert story.startswith(f"Patient {int(path.stem[1:])}: dsjq, ")
    assert story.endswith(f"dsjq-lab run {answer['run']}{changes} --broker zoo/{path.stem}")
    assert not SPOILERS.search(story)


def test_what_a_black_box_shows_is_part_of_what_there_is_to_see() -> None:
    for name, answer in ANSWERS.items():
        assert set(names(answer.get("black_box", []))) <= set(names(answer["caught_by"])), name


def test_the_page_for_instructors_says_the_same() -> None:
    rows = re.findall(r"^\| (p\d\d) \|.*\| ([^|]+) \| ([^|]+) \|$", (ZOO / "ANSWERS.md").read_text(), re.M)
    assert [row[0] for row in rows] == list(ANSWERS)
    for name, caught_by, scenario in rows:
        assert caught_by.split(", ") == ANSWERS[name]["caught_by"], name
        assert scenario.startswith(str(ANSWERS[name]["run"])), name


@pytest.mark.parametrize("name", QUICK)
def test_a_patient_is_caught_with_the_right_invariant(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dsjq_lab", "run", str(ANSWERS[name]["run"]), "--broker", f"zoo/{name}"]
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'harness'}", "DSJQ_RUNS": str(tmp_path)}
    done = subprocess.run([*command, "--json"], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    violated = {v["invariant"] for v in json.loads(done.stdout)["verdicts"] if v["status"] == "violated"}
    assert violated & set(names(ANSWERS[name]["caught_by"]))
