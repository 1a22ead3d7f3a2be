"""An exercise is a folder: README.md for the student, exercise.yaml for the lab, and the files it names.

`build/3` is short for `exercises/build/03-…`. A hidden folder has the same form. The files are as strict as
scenarios, and so are the complaints about them: all at once, each at its line.
"""

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from dsjq_lab import library, yaml12
from dsjq_lab.errors import UsageError
from dsjq_lab.grading.conversation import Conversation
from dsjq_lab.scenario import ScenarioErrors, explained, keys_of
from dsjq_lab.scenario_format import BrokerOptions
from dsjq_lab.scenario_values import AtLeastOne, Strict, key
from dsjq_lab.variation import Variation
from dsjq_lab.yaml12 import Mistake, YamlError

FILE, PAGE, PATIENT = "exercise.yaml", "README.md", "broker.py"
KINDS = ("conversation", "scenario", "explore", "patient")


class Patient(Strict):
    """Of a broker with a bug (repair.py): a scenario that shows it, or its repair."""

    asks: Literal["scenario", "repair"]
    keeps: bool = False  # its jobs, in a folder
    shown_in: AtLeastOne = 8  # of the 40 schedules of a scenario that asks for points
    live: bool = False  # no scenario is explored: nearly every schedule shows the bug


class Check(Strict):
    """One thing that a submission is asked, in one of these ways."""

    name: str
    points: AtLeastOne
    explain: str  # what is missing if it fails, in one or two sentences
    conversation: str | None = None  # a file beside this one: a talk with the broker, to the byte
    scenario: str | None = None  # a file beside this one, or a scenario of the library: on real processes
    explore: str | None = None  # the same, simulated, if the submission is a Python program
    patient: Patient | None = None  # the broker.py beside this file is one
    runs: AtLeastOne = 1  # with the scenario's seed, seed+1, …; or the schedules 0, 1, …
    needs: list[Literal["data", "ack_timeout", "max_attempts"]] = []  # what its command must take
    changes: dict[str, Any] = key("set", {})  # as --set
    broker: BrokerOptions = BrokerOptions()  # of a conversation

    @model_validator(mode="after")
    def asks_in_one_way(self) -> Self:
        if sum(getattr(self, kind) is not None for kind in KINDS) != 1:
            raise PydanticCustomError("value", f"a check has one of: {', '.join(KINDS)}")
        return self

    @property
    def kind(self) -> str:
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def file(self) -> str:
        return PATIENT if self.patient else str(getattr(self, self.kind))

    @property
    def variation(self) -> Variation:
        changes = (f"{path}={value if isinstance(value, str) else json.dumps(value)}"
                   for path, value in self.changes.items())  # fmt: skip
        return Variation(tuple(changes))


class Sheet(Strict):
    """What is in exercise.yaml."""

    title: str
    checks: Annotated[list[Check], Field(min_length=1)]


class Asked(NamedTuple):
    """A check, and where its file lies."""

    check: Check
    path: Path
    hidden: bool = False


class Exercise(NamedTuple):
    name: str  # "build/03-thread-safety"
    title: str
    folder: Path
    checks: list[Asked]

    @property
    def points(self) -> int:
        return sum(asked.check.points for asked in self.checks)

    @property
    def has_patient(self) -> bool:
        return any(asked.check.patient for asked in self.checks)


def find(text: str) -> Path:
    """The folder of an exercise, from `build/3`, its whole name, or a path. UsageError if there is none."""
    if (Path(text) / FILE).is_file():
        return Path(text)
    known = {f"{folder.parent.name}/{folder.name}": folder for folder in reversed(folders())}
    group, _, number = text.removeprefix("exercises/").partition("/")
    for name, folder in known.items():
        if name == f"{group}/{number}" or (number.isdigit() and name_of_number(name) == (group, int(number))):
            return folder
    short = [f"{group}/{number}" for group, number in map(name_of_number, known)]
    raise UsageError(f"no such exercise: {text}{library.did_you_mean(text, [*short, *known])}")


def name_of_number(name: str) -> tuple[str, int]:
    group, _, stem = name.partition("/")
    number = re.match(r"[0-9]+", stem)
    return group, int(number[0]) if number else 0


def folders() -> list[Path]:
    """Of all exercises; of two with the same name, the one in the folder at hand."""
    found: dict[tuple[str, str], Path] = {}
    for file in library.on_shelf("exercises", f"*/[0-9]*/{FILE}"):
        found.setdefault((file.parent.parent.name, file.parent.name), file.parent)
    return [folder for _, folder in sorted(found.items())]


def title(folder: Path) -> str:
    """Of one whose checks may be of any kind."""
    try:
        return str(yaml12.read((folder / FILE).read_bytes()).data["title"])
    except (OSError, YamlError, KeyError, TypeError):
        return "(not valid)"


def load(folder: Path, hidden: Path | None = None) -> Exercise:
    """The exercise, with the checks of a hidden folder after its own. ScenarioErrors with every mistake."""
    sheet, checks = read(folder, hidden=False)
    if hidden is not None:
        checks = [*checks, *read(hidden, hidden=True)[1]]
    whole = folder.resolve()
    return Exercise(f"{whole.parent.name}/{whole.name}", sheet.title, whole, checks)


def read(folder: Path, hidden: bool) -> tuple[Sheet, list[Asked]]:
    path = folder / FILE
    try:
        raw = path.read_bytes()
        document = yaml12.read(raw)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except YamlError as error:
        raise ScenarioErrors(path, b"", [error.mistake]) from None
    mistakes = document.mistakes
    try:
        sheet = Sheet.model_validate(document.data)
    except ValidationError as invalid:
        mistakes += [explained(error, document, keys_beside) for error in invalid.errors()]
    if mistakes:
        raise ScenarioErrors(path, raw, mistakes)
    asked = []
    for number, check in enumerate(sheet.checks):
        try:
            asked.append(Asked(check, file_of(check, folder), hidden))
        except UsageError as problem:
            mistakes.append(Mistake(*document.values["checks", number, check.kind], "file", str(problem)))
    if mistakes:
        raise ScenarioErrors(path, raw, mistakes)
    return sheet, asked


def file_of(check: Check, folder: Path) -> Path:
    """Where it lies, and that it is what it should be."""
    beside = (folder / check.file).resolve()
    if check.patient:
        if not beside.is_file():
            raise UsageError(f"there is no {PATIENT} beside this file")
        return beside
    if check.kind == "conversation":
        Conversation.load(beside)
        return beside
    path = beside if beside.is_file() else library.find("scenarios", check.file)
    try:
        check.variation.load(path)
    except ScenarioErrors as errors:
        raise UsageError(f"a scenario with mistakes\n{errors}") from None
    return path


def keys_beside(loc: tuple[int | str, ...]) -> list[str]:
    """The keys that exercise.yaml may have where this one stands."""
    if len(loc) == 1:
        return keys_of(Sheet)
    return keys_of(BrokerOptions if "broker" in loc[:-1] else Check)
