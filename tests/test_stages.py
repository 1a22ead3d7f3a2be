"""The stages of one's own broker: what their pages say of solutions and starters is so.

The talks are played here, which is quick; `python -m bench stages` plays scenarios and schedules as well.
"""

import os
import shutil

import pytest

from bench import stages
from dsjq_lab.brokers import Command
from dsjq_lab.grading import judge
from dsjq_lab.grading.results import FAILED, PASSED

STARTERS = stages.ROOT / "exercises" / "starters"
JUDGED_BY_TALK = [stage for stage in stages.STAGES if stage not in (3, 7, 8)]
NODE = pytest.mark.skipif(  # CI has it, and must not do without
    shutil.which("node") is None and not os.environ.get("CI"), reason="node is not installed"
)
LANGUAGES = ["py", pytest.param("js", marks=NODE)]


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("DSJQ_RUNS", str(tmp_path))


def talks(stage: int):
    return [asked for asked in stages.checks(stage) if asked.check.kind == "conversation"]


@pytest.mark.parametrize("stage", JUDGED_BY_TALK)
def test_a_solution_says_what_its_stage_asks_for(stage):
    marks = [judge.judge(asked, stages.solution(stage, stage)) for asked in talks(stage)]
    assert {mark.name: mark.evidence for mark in marks if mark.verdict != PASSED} == {}


@pytest.mark.parametrize("stage", JUDGED_BY_TALK[1:])
def test_the_solution_before_does_not(stage):
    broker = stages.solution(stages.before(stage), stage)
    finding = judge.find(talks(stage)[0], broker, time_scale=0.2)  # no patience: nothing is to come
    assert finding.verdict == FAILED
    assert "<-- expected: " in finding.evidence


@NODE
@pytest.mark.parametrize("stage", [1, 2, 4])
def test_so_it_is_in_javascript(stage):
    marks = [judge.judge(asked, stages.solution(stage, stage, "js")) for asked in talks(stage)]
    assert {mark.name: mark.evidence for mark in marks if mark.verdict != PASSED} == {}


@NODE
@pytest.mark.parametrize("stage", [2, 4])  # 3 asks for a lock, and node has nothing to lock
def test_in_javascript_too_the_solution_before_does_not(stage):
    broker = stages.solution(stages.before(stage), stage, "js")
    finding = judge.find(talks(stage)[0], broker, time_scale=0.2)
    assert finding.verdict == FAILED
    assert "<-- expected: " in finding.evidence


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_starter_has_two_points(language):
    folder = STARTERS / {"py": "python", "js": "javascript"}[language]
    words = (folder / "broker.cmd").read_text().replace("broker.", f"{folder}/broker.")
    marks = [judge.judge(asked, Command(words.strip())) for asked in stages.checks(1)]
    assert sum(mark.earned for mark in marks) == 2
    assert sum(mark.points for mark in marks) == 10


def test_a_starter_is_short():
    for file in (*STARTERS.rglob("*.py"), *STARTERS.rglob("*.js")):
        assert len(file.read_text().splitlines()) < 60


def test_every_page_has_what_a_student_looks_for():
    for stage in stages.STAGES:
        checks = stages.checks(stage)
        assert sum(asked.check.points for asked in checks) == 10
        folder = next((stages.ROOT / "exercises" / "build").glob(f"{stage:02}-*"))
        text = (folder / "README.md").read_text()
        for part in ("**Goal**", "**Time**", "**Points**: 10", "## What to build", "## How to see it fail",
                     "<details><summary>Hint", "*A typical solution*: "):  # fmt: skip
            assert part in text, (stage, part)
