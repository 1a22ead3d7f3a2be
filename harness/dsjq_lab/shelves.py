"""What there is to play, to break and to look at: each shelf gives names and what they mean.

Like a command, a shelf imports what it needs when it is asked.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

from dsjq_lab import library


def scenarios() -> dict[str, str]:
    from dsjq_lab import scenario

    def title(path: Path) -> str:
        try:
            return scenario.load(path).title
        except scenario.ScenarioErrors as errors:
            return f"(not valid: {len(errors.mistakes)} mistakes)"

    return {name: title(path) for name, path in library.contents("scenarios").items()}


def invariants() -> dict[str, str]:
    from dsjq_lab.checkers import CHECKERS

    return {checker.name: checker.rule for checker in CHECKERS}


def faults() -> dict[str, str]:
    from dsjq_lab.disturbances import DISTURBANCES
    from dsjq_lab.faults import FAULTS

    kinds = {verb: DISTURBANCES.get(verb) or type(fault) for verb, fault in FAULTS.items()}
    said = {verb: kind.__doc__ or sys.modules[kind.__module__].__doc__ for verb, kind in kinds.items()}
    return {verb: (text or "").splitlines()[0] for verb, text in said.items()}


def words() -> dict[str, str]:
    from dsjq_lab import scenario_words

    return {word.path: f"{word.terms}: {word.says}" for word in scenario_words.words()}


def stored_runs() -> dict[str, str]:
    from dsjq_lab import runs

    folders = sorted(history.parent for history in runs.root().glob("*/*/history.jsonl"))
    return {str(folder): outcome(folder) for folder in folders if not folder.is_symlink()}


def outcome(folder: Path) -> str:
    try:
        return str(json.loads((folder / "results.json").read_text())["outcome"])
    except FileNotFoundError:
        return "not judged"


def exercises() -> dict[str, str]:
    """Each with what the last `check` of it found; then the questions of each lab."""
    from dsjq_lab.grading import exercise, progress, questions

    done = progress.known()
    places = {f"{folder.parent.name}/{folder.name}": folder for folder in exercise.folders()}
    labs = questions.labs().values()
    titles = {name: exercise.title(folder) for name, folder in places.items()}
    titles |= {lab.name: lab.title for lab in labs}
    how_far = {name: done.get(name, {"line": "not checked yet"})["line"] for name in places}
    how_far |= {lab.name: questions.standing(lab) for lab in labs}
    wide = max(map(len, titles.values()))
    return {name: f"{title:<{wide}}  {how_far[name]}" for name, title in titles.items()}


SHELVES: dict[str, Callable[[], dict[str, str]]] = {
    "scenarios": scenarios,
    "invariants": invariants,
    "faults": faults,
    "words": words,
    "runs": stored_runs,
    "exercises": exercises,
}
