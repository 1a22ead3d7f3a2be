"""The notebooks: each is in step with its source, shows the outputs of one run, and runs again."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from dsjq_lab.brokers import real
from dsjq_lab.errors import LabError

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
LESSONS = sorted(NOTEBOOKS.glob("[0-9]*.py"))
BYTES_MAX = 300_000
if not os.environ.get("CI"):
    pytest.importorskip("jupytext")  # the extra `notebooks`; in CI it must be there


def stored(lesson: Path) -> Any:
    return json.loads(lesson.with_suffix(".ipynb").read_text(encoding="utf-8"))


def outputs(lesson: Path) -> list[dict[str, Any]]:
    return [shown for cell in stored(lesson)["cells"] for shown in cell.get("outputs", ())]


def needs_brokers(lesson: Path) -> None:
    """Some lessons play real brokers, which CI has."""
    for name in {*real.KINDS} & {*re.findall(r'"([a-z-]+)"', lesson.read_text(encoding="utf-8"))}:
        try:
            real.KINDS[name]()
        except LabError as missing:
            (pytest.fail if os.environ.get("CI") else pytest.skip)(str(missing))


def test_there_are_lessons_and_each_has_its_notebook():
    assert len(LESSONS) >= 8
    assert [lesson.stem for lesson in LESSONS] == [path.stem for path in sorted(NOTEBOOKS.glob("*.ipynb"))]


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.stem)
def test_a_notebook_is_in_step_with_its_source(lesson):
    import jupytext

    written = [(cell.cell_type, cell.source) for cell in jupytext.read(lesson).cells]
    assert [(cell["cell_type"], "".join(cell["source"])) for cell in stored(lesson)["cells"]] == written


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.stem)
def test_the_outputs_are_those_of_one_run_from_top_to_bottom(lesson):
    counts = [cell["execution_count"] for cell in stored(lesson)["cells"] if cell["cell_type"] == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert {shown["output_type"] for shown in outputs(lesson)} <= {"stream", "execute_result"}
    assert all(shown.get("name") != "stderr" for shown in outputs(lesson))


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.stem)
def test_a_notebook_is_readable_anywhere_and_tells_nothing_of_the_machine(lesson):
    kinds = {kind for shown in outputs(lesson) for kind in shown.get("data", ())}
    assert {"image/png", "text/plain"} <= kinds
    said = [
        "".join(text)
        for shown in outputs(lesson)
        for kind, text in [("text/plain", shown.get("text", "")), *shown.get("data", {}).items()]
        if kind != "image/png"
    ]
    assert not re.search(r"(?<![\w.<*])/\w+/\w+/|site-packages", "\n".join(said))
    assert lesson.with_suffix(".ipynb").stat().st_size < BYTES_MAX


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.stem)
def test_a_lesson_asks_for_a_prediction_and_checks_what_it_taught(lesson):
    text = lesson.read_text(encoding="utf-8")
    order = ["## Predict", " = ...\n" if " = ...\n" in text else ": ...,\n", "## Run", "predicted(",
             "## Check", "assert ", "## Your turn"]  # fmt: skip
    places = [text.index(words, text.index("## Predict")) for words in order]
    assert places == sorted(places)


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.stem)
def test_a_lesson_plays(lesson, monkeypatch):
    monkeypatch.syspath_prepend(NOTEBOOKS)
    import build

    needs_brokers(lesson)
    played = build.played(lesson)  # raises, with the cell, where one fails
    assert all(cell.execution_count for cell in played.cells if cell.cell_type == "code")
