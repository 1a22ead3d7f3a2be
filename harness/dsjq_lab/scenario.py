"""A scenario is an experiment written down: what runs, what goes wrong and when, what must still hold.

The format is strict, because a typo that is let through is an experiment that nobody meant. So that one
reading repairs a file, all its mistakes are reported at once: those of YAML (yaml12), those of a single
value (scenario_format) and those between values that are each well formed (`disagreements`).
"""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from dsjq_lab import yaml12
from dsjq_lab.scenario_format import (
    EVENTS,
    INVARIANTS,
    VERBS,
    VICTIMS,
    AnyFault,
    BrokerOptions,
    Expectation,
    Fault,
    Load,
    PositiveDuration,
    Scenario,
    Timed,
    Victim,
    When,
    Workers,
)
from dsjq_lab.yaml12 import Document, Mistake, YamlError

__all__ = [
    "INVARIANTS",
    "Expectation",
    "Fault",
    "Scenario",
    "ScenarioErrors",
    "Timed",
    "Victim",
    "When",
    "json_schema",
    "load",
    "plan",
]


class ScenarioErrors(Exception):
    """All mistakes of a file, by line; `rendered` has each as file:line:column, the source and a caret."""

    def __init__(self, path: Path, raw: bytes, mistakes: list[Mistake]) -> None:
        self.mistakes = sorted(mistakes)
        lines = raw.decode(errors="replace").splitlines()
        self.rendered = [self._render(path, lines, mistake) for mistake in self.mistakes]
        super().__init__("\n".join(self.rendered))

    @staticmethod
    def _render(path: Path, lines: list[str], mistake: Mistake) -> str:
        line, column, kind, message = mistake
        source = lines[line - 1].replace("\t", " ") if line <= len(lines) else ""
        return f"{path}:{line}:{column}: error[{kind}]: {message}\n    {source}\n    {' ' * (column - 1)}^"


def load(path: Path) -> Scenario:
    """The scenario in a file; ScenarioErrors with every mistake in it."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ScenarioErrors(path, b"", [Mistake(1, 1, "file", error.strerror or str(error))]) from None
    try:
        document = yaml12.read(raw)
    except YamlError as error:
        raise ScenarioErrors(path, raw, [error.mistake]) from None
    mistakes = [*document.mistakes, *disagreements(document)]
    try:
        scenario = Scenario.model_validate(document.data)
    except ValidationError as invalid:
        mistakes += [explained(error, document) for error in invalid.errors()]
    if mistakes:
        raise ScenarioErrors(path, raw, mistakes)
    scenario._name = path.stem
    return scenario


def plan(scenario: Scenario) -> list[str]:
    """One line a fault: when, what, whom, and when it is over."""
    return [str(fault) for fault in scenario.faults]


def json_schema() -> dict[str, Any]:
    return Scenario.model_json_schema()


def disagreements(document: Document) -> Iterator[Mistake]:
    """Where parts that are each well formed do not fit together. Parts that are not are left out."""
    data = document.data if isinstance(document.data, dict) else {}
    load, workers = sound(Load, data.get("load")), sound(Workers, data.get("workers", {}))
    counts = {"producer": load and load.producers, "worker": workers and workers.count}
    finish_s = sound(PositiveDuration, data.get("finish_within", "20s"))
    entries = data.get("faults")
    for i, entry in enumerate(entries if isinstance(entries, list) else []):
        if fault := sound(AnyFault, entry):
            for word, message in (
                *trigger_quarrels(fault, list(entry)),
                *victim_quarrels(fault, counts),
                *end_quarrels(fault, finish_s),
            ):
                yield Mistake(*document.keys["faults", i, word], "value", message)


def sound(kind: Any, data: Any) -> Any:
    try:
        return TypeAdapter(kind).validate_python(data)
    except ValidationError:
        return None


def trigger_quarrels(fault: Fault, words: list[str]) -> Iterator[tuple[str, str]]:
    given = [word for word in words if word in ("at", "every", "when")]
    bounds = [word for word in words if word in ("from", "until")]
    if len(given) != 1:
        place = given[1] if given else fault.verb
        yield place, "a fault has exactly one trigger: at, every … until, or when"
    elif given != ["every"] and bounds:
        yield bounds[0], f"'{bounds[0]}' belongs to every, not to {given[0]}"
    elif given == ["every"] and fault.until_s is None:
        yield "every", "'every' needs 'until'"
    elif isinstance(trigger := fault.trigger, Timed) and not trigger.at_s:
        yield "until", "this is before the first strike"


def victim_quarrels(fault: Fault, counts: dict[str, int | None]) -> Iterator[tuple[str, str]]:
    text, role, which = fault.victim
    count = counts.get(role)
    if isinstance(which, int) and count is not None and which > count:
        yield fault.verb, f"there is no {text}: the scenario has {count}"
    if which == "that" and not fault.when:
        yield fault.verb, f"'{text}' is the one whose event it was: it needs a 'when'"
    for event in fault.when:
        if which == "that" and EVENTS[event][0] != role:
            yield fault.verb, f"'{event}' is the event of a {EVENTS[event][0]}, not of a {role}"


def end_quarrels(fault: Fault, finish_s: float | None) -> Iterator[tuple[str, str]]:
    end_s = (fault.until_s or fault.at_s or 0) + (fault.lasts_s or 0)
    if finish_s is not None and end_s > finish_s:
        yield fault.verb, f"this lasts until {end_s:g} s, and finish_within is {finish_s:g} s"


SECTIONS: dict[Any, type[BaseModel]] = {
    "broker": BrokerOptions,
    "load": Load,
    "workers": Workers,
    "expect": Expectation,
}


def keys_beside(loc: tuple[int | str, ...]) -> list[str]:
    """The keys that the file may have where this one stands."""
    if len(loc) == 1:
        return keys_of(Scenario)
    return keys_of(VERBS[str(loc[2])] if loc[0] == "faults" else SECTIONS[loc[0]])


def keys_of(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


FAULT_KEYS = {word for fault in VERBS.values() for word in keys_of(fault)}


def explained(error: ErrorDetails, document: Document) -> Mistake:
    """What pydantic found, in the words of the file and at its place in it."""
    loc = error["loc"]
    path = loc[:2] + loc[3:] if loc[0:1] == ("faults",) else loc  # loc[2] is the verb that chose the class
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
