"""A scenario is an experiment written down: what runs, what goes wrong and when, what must still hold.

The format is strict, because a typo that is let through is an experiment that nobody meant. So that one
reading repairs a file, all its mistakes are reported at once: those of YAML (yaml12), those of a single
value (scenario_values, _faults, _network, _format) and those between well-formed values (quarrels).
"""

import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from dsjq_lab import yaml12
from dsjq_lab.scenario_changes import change
from dsjq_lab.scenario_faults import (
    EVENTS,
    After,
    ClockStep,
    Deed,
    FsyncError,
    KillOn,
    SlowFsync,
    Term,
    Throttle,
    Timed,
    TornTail,
    When,
)
from dsjq_lab.scenario_format import (
    INVARIANTS,
    BrokerOptions,
    Circumstances,
    Expectation,
    Load,
    Scenario,
    Topic,
    Workers,
    varied,
)
from dsjq_lab.scenario_network import OnTheWay
from dsjq_lab.scenario_quarrels import quarrels
from dsjq_lab.scenario_values import THAT_JOB, VICTIMS, Victim
from dsjq_lab.scenario_verbs import VERBS
from dsjq_lab.yaml12 import Document, Mistake, YamlError

__all__ = [
    "EVENTS",
    "INVARIANTS",
    "THAT_JOB",
    "VERBS",
    "After",
    "ClockStep",
    "Deed",
    "Expectation",
    "FsyncError",
    "KillOn",
    "OnTheWay",
    "Scenario",
    "ScenarioErrors",
    "SlowFsync",
    "Term",
    "Throttle",
    "Timed",
    "TornTail",
    "Victim",
    "When",
    "json_schema",
    "load",
    "plan",
    "varied",
]


class ScenarioErrors(Exception):
    """All mistakes of a file, by line; `rendered` has each as file:line:column, the source and a caret."""

    def __init__(self, path: Path, raw: bytes, mistakes: list[Mistake], changes: Sequence[str] = ()) -> None:
        self.mistakes = sorted(mistakes)
        lines = raw.decode(errors="replace").splitlines()
        self.rendered = [self._render(path, lines, changes, mistake) for mistake in self.mistakes]
        super().__init__("\n".join(self.rendered))

    @staticmethod
    def _render(path: Path, lines: list[str], changes: Sequence[str], mistake: Mistake) -> str:
        line, column, kind, message = mistake
        if line == 0:
            return f"--set {changes[column - 1]}: error[{kind}]: {message}"
        source = lines[line - 1].replace("\t", " ") if line <= len(lines) else ""
        return f"{path}:{line}:{column}: error[{kind}]: {message}\n    {source}\n    {' ' * (column - 1)}^"


def load(path: Path, changes: Sequence[str] = ()) -> Scenario:
    """The scenario in a file, changed as by `--set`; ScenarioErrors with every mistake in it."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ScenarioErrors(path, b"", [Mistake(1, 1, "file", error.strerror or str(error))]) from None
    try:
        document = yaml12.read(raw)
    except YamlError as error:
        raise ScenarioErrors(path, raw, [error.mistake]) from None
    mistakes = document.mistakes
    for number, text in enumerate(changes, 1):
        mistakes += change(document, number, text)
    mistakes += quarrels(document)
    try:
        scenario = Scenario.model_validate(document.data)
    except ValidationError as invalid:
        mistakes += [explained(error, document) for error in invalid.errors()]
    if mistakes:
        raise ScenarioErrors(path, raw, mistakes, changes)
    stored = path.name == "scenario.yaml"  # in the folder of a run, which lies in that of its scenario
    scenario._name = path.resolve().parent.parent.name if stored else path.stem
    return scenario


def plan(scenario: Scenario) -> list[str]:
    """One line a fault: when, what, whom, and when it is over."""
    return [str(fault) for fault in scenario.faults]


def json_schema() -> dict[str, Any]:
    return Scenario.model_json_schema()


# -- What pydantic finds, in the words of the file ---------------------------------------------------------

SECTIONS: dict[Any, type[BaseModel]] = {
    "broker": BrokerOptions,
    "load": Load,
    "workers": Workers,
    "topic": Topic,
    "expect": Expectation,
}


def keys_beside(loc: tuple[int | str, ...]) -> list[str]:
    """The keys that the file may have where this one stands."""
    if len(loc) == 1:
        return keys_of(Scenario)
    if loc[0] == "faults":
        return keys_of(VERBS[str(loc[2])])
    return keys_of(Circumstances if "with" in loc[:-1] else SECTIONS[loc[0]])


def keys_of(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


FAULT_KEYS = {word for fault in VERBS.values() for word in keys_of(fault)}


def explained(
    error: ErrorDetails,
    document: Document,
    keys_beside: Callable[[tuple[int | str, ...]], list[str]] = keys_beside,
) -> Mistake:
    """A mistake at its place in the file. Other strict formats have other keys: `keys_beside` knows them."""
    loc = error["loc"]
    path = loc
    if loc[0:1] == ("faults",):
        path = loc[:2] + loc[3:]  # loc[2] is the verb that chose the class
        if path[2:3] == ("until",):
            path = path[:3] + path[4:]  # what stood between chose a class, too
    word, known = str(error["input"]), list[str]()
    place = document.values.get(path, (1, 1))
    kind, message = "value", error["msg"].replace("Input should", "should")
    match error["type"]:
        case "missing":
            kind, message = "missing", f"'{path[-1]}' is missing"
            place = document.keys.get(path[:-1]) or document.values[path[:-1]]
        case "extra_forbidden":
            kind, word, known = "unknown-key", str(path[-1]), keys_beside(loc)
            place, message = document.keys[path], f"there is no '{word}' here"
        case "union_tag_not_found":
            kind, known = "missing", list(VERBS)
            message = f"a fault needs a verb: {', '.join(known)}"
            if strangers := [at for at in document.keys if at[:-1] == path and at[-1] not in FAULT_KEYS]:
                kind, word, place = "unknown-key", str(strangers[0][-1]), document.keys[strangers[0]]
        case "literal_error":
            known = re.findall(r"'(\w+)'", error["ctx"]["expected"])
            place = document.keys[path[:-1]] if path[-1] == "[key]" else place
        case "victim":
            known = VICTIMS
            message = f"a victim is one of: {', '.join(known)}"
        case "unit":
            kind = "unit"
        case "model_type" | "dict_type":
            message = "should be a mapping (key: value)"
    nearest = get_close_matches(word, known, 1)
    return Mistake(*place, kind, message + (f"; did you mean '{nearest[0]}'?" if nearest else ""))
