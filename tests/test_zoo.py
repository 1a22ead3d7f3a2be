"""The zoo is in order: every patient has an answer, and the quick ones are caught here and now.

All of them, many times over, in both worlds and as black boxes too: `dsjq-lab zoo`.
"""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dsjq_lab import cli, zoo
from dsjq_lab.checkers import CHECKERS
from dsjq_lab.errors import UsageError
from dsjq_lab.logbook import Logbook

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


def row(broker: str, caught: int, world: str = "live") -> zoo.Row:
    return zoo.Row(broker, "first_job", world, ["fifo"], {"fifo": caught} if caught else {}, 5, caught,
                   1 if caught else None, 1.0 if caught else None)  # fmt: skip


def test_a_patient_escapes_if_it_is_caught_in_no_world() -> None:
    rows = [row("p01", 0), row("p01", 1, "explored"), row("p02", 0), row("p02", 0, "explored")]
    rows += [row("dsjq", 0)]
    assert zoo.escaped(rows) == ["p02"]
    assert zoo.exit_code(rows) == 1
    assert zoo.exit_code([*rows[:2], rows[-1]]) == 0
    assert "2 = 1 caught + 1 escaped" in next(zoo.summary(rows))


def test_one_false_alarm_is_too_many() -> None:
    rows = [row("p01", 5), row("dsjq", 1)]
    assert not zoo.escaped(rows)
    assert zoo.exit_code(rows) == 1
    assert list(zoo.summary(rows))[-1] == "Reference   1 false alarms in 5 runs"


def test_an_explored_patient_is_played_with_the_changes_of_its_answer() -> None:
    found = zoo._explored("p05", zoo.answers()["p05"], 1, Logbook())
    assert (found.complaint, found.caught) == ("", 1)


def test_what_was_explored_is_not_explored_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    explored = [zoo._explored("p33", zoo.answers()["p33"], 1, Logbook(tmp_path / "book"))]
    monkeypatch.setattr(subprocess, "run", None)
    explored += [zoo._explored("p33", zoo.answers()["p33"], 1, Logbook(tmp_path / "book"))]
    assert explored[0] == explored[1]
    assert explored[0].caught == 1


def test_a_visit_tells_what_it_expected_and_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["zoo", "p33", "--world", "live", "--runs", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(row["broker"], row["caught"], row["runs"]) for row in told["rows"]] == [
        ("p33", 1, 1), ("dsjq", 0, 1),
    ]  # fmt: skip
    assert told["rows"][0]["runs_to_detection"] == 1
    assert told["rows"][0]["found"] == {"legal_transitions": 1}
    with pytest.raises(UsageError, match=r"no such patient: p332 \(did you mean p33"):
        list(zoo.visit(["p332"], "live", 1, 1))
