"""How far somebody has come: the last result of `check` for each exercise, beside the runs."""

import json
from pathlib import Path
from typing import Any

from dsjq_lab import runs
from dsjq_lab.grading import exercise as exercises


def file() -> Path:
    return runs.root() / "exercises.json"


def known() -> dict[str, Any]:
    """By exercise: passed (whether all of it has), and a line for people."""
    try:
        stored: dict[str, Any] = json.loads(file().read_text())
        return stored
    except (OSError, ValueError):
        return {}


def note(exercise: str, passed: bool, line: str) -> None:
    stored = {**known(), exercise: {"passed": passed, "line": line}}
    file().parent.mkdir(parents=True, exist_ok=True)
    part = file().with_suffix(".part")
    part.write_text(json.dumps(stored, indent=2) + "\n")
    part.replace(file())


def not_yet_before(exercise: str) -> str:
    """The first stage before this one, of one's own broker, that has not passed; empty if there is none."""
    if not exercise.startswith("build/"):
        return ""
    done = known()
    stages = [f"{folder.parent.name}/{folder.name}" for folder in exercises.folders()]
    earlier = [stage for stage in stages if stage.startswith("build/") and stage < exercise]
    return next((stage for stage in earlier if not done.get(stage, {}).get("passed")), "")
