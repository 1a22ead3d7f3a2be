"""`explain` knows every name that a reader may meet, and says what the handbook says."""

import json
import re
from pathlib import Path

import pytest

from dsjq_lab import cli, handbook, scenario_words
from dsjq_lab.checkers import CHECKERS
from dsjq_lab.disturbances import DISTURBANCES
from dsjq_lab.faults import FAULTS
from dsjq_lab.scenario import EVENTS, INVARIANTS, VERBS
from dsjq_lab.scenario_faults import Deed
from dsjq_lab.scenario_format import Scenario
from dsjq_lab.verdict import HOLDS, NOT_APPLICABLE, UNKNOWN, VIOLATED

SELF_EVIDENT = {"broker", "load", "workers", "victim", "on"}  # parts, and what the verb itself says
ROOT = Path(__file__).parent.parent
CODES = re.compile(r'(?:BadLine|Error|Refusal)\(\s*"([A-Z0-9_]+)"')
NAMES = {
    "invariant": [checker.name for checker in CHECKERS],
    "fault": [*FAULTS, "kick"],
    "event": list(EVENTS),
    "word": [
        "broker", "producer", "worker", "job", "attempt", "lease", "ack timeout", "dead letter", "kick",
        "token", "workload", "fault", "victim", "history", "invariant", "checker", "effect", "ledger",
        "drain", "control", HOLDS, VIOLATED, UNKNOWN, NOT_APPLICABLE,
    ],
    "error": sorted(CODES.findall("".join(file.read_text() for file in (ROOT / "dsjq").rglob("*.py")))),
}  # fmt: skip


@pytest.mark.parametrize("kind", NAMES)
def test_every_name_is_explained(kind):
    assert NAMES[kind]
    for name in NAMES[kind]:
        assert [entry for entry in handbook.explained(name) if entry.kind == kind and len(entry.text) > 10]


def test_every_line_of_the_glossary_is_an_entry():
    glossary = (ROOT / "LAB.md").read_text().partition("\n## Words\n")[2]
    lines = [line for line in glossary.splitlines() if line.startswith("- ")]
    assert len(lines) == sum(entry.kind == "word" for entry in handbook.entries()) > 30


def test_it_is_the_text_of_the_handbook(capsys):
    assert cli.main(["explain", "dead-letter", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert f"- **dead letter**: {entry['text']}" in (ROOT / "LAB.md").read_text()
    assert cli.main(["explain", "no_lost_job"]) == 0
    said = capsys.readouterr().out
    assert "Rule: " in said and "`JOB_ID` is a promise" in said and "LAB.md#no_lost_job" in said


def test_a_name_may_have_two_meanings():
    assert [entry.kind for entry in handbook.explained("Kick")] == ["fault", "word"]


def test_a_mistyped_name_gets_a_hint_and_no_name_all_names(capsys):
    assert cli.main(["explain", "lase"]) == 2
    assert "did you mean lease?" in capsys.readouterr().err
    assert cli.main(["explain"]) == 0
    assert "exclusive_lease" in capsys.readouterr().out


# -- The words of a scenario file


def test_every_key_of_a_scenario_file_says_what_it_means():
    for model in (Scenario, *scenario_words.PARTS.values(), Deed, *VERBS.values()):
        for name, field in model.model_fields.items():
            assert field.description or name in SELF_EVIDENT, f"{model.__name__}.{name}"


def test_the_handbook_lists_them_as_the_lab_does(capsys):
    assert cli.main(["list", "words"]) == 0
    assert f"```text\n{capsys.readouterr().out}```" in (ROOT / "LAB.md").read_text(), "dsjq-lab list words"


@pytest.mark.parametrize(("path", "terms"), [
    ("broker.ack_timeout", "a duration (250ms, 2s, 1m), else 1s"),
    ("load.jobs", "a number from 1 to 1000000, required"),
    ("load.delays", "a list, else [0s]"),
    ("workers.effect", "append or idempotent or fenced"),
    ("faults.throttle.to", "a share (20%), required"),
    ("faults.until", "a duration (250ms, 2s, 1m) or a mapping"),
    ("expect.with.durable", "true or false"),
])
def test_a_word_is_told_with_its_type_its_unit_and_its_default(path, terms, capsys):
    assert cli.main(["explain", path]) == 0
    assert terms in " ".join(capsys.readouterr().out.split())


def test_models_faults_and_invariants_agree_on_what_there_is():
    assert set(VERBS) == set(FAULTS)
    assert set(DISTURBANCES) == {verb for verb, kind in VERBS.items() if kind.of_the_network}
    assert set(INVARIANTS) == {checker.name for checker in CHECKERS}
