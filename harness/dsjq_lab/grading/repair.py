"""Find the bug: a student's own scenario judges a broker that has one, and then the student's repair of it.

A scenario earns its points if the patient breaks a promise that it names under `focus`, and the reference
breaks none. That is decided on schedules that are always the same ones (explored), so no grade is a matter of
luck; where the explored world lacks a fault, on real processes. A bug that is a race shows in some schedules
only, but nearly any scenario meets it in a few: so it must show in a fifth of them, or in more, as the
exercise says.

A repair earns its points on a scenario that showed the bug, and on the library beside it: who has mended one
thing may have broken another. Without such a scenario nothing shows that anything was repaired.

A scenario is data: it names no program and no file, so a stranger's can be played as it is. It can only be
too big, and is bounded here.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dsjq_lab import library, runs
from dsjq_lab.brokers import Broker, Dsjq
from dsjq_lab.grading.exercise import Patient
from dsjq_lab.grading.exploring import explore
from dsjq_lab.grading.submission import beginning
from dsjq_lab.results import judged
from dsjq_lab.scenario import Scenario, ScenarioErrors, load
from dsjq_lab.verdict import VIOLATED

OWN = "story.yaml"  # beside the broker.py that it is about
EXPLORED = "schedules"
SCHEDULES = 40
SCHEDULES_BESIDE = 20
LIVE_RUNS = 3
JOBS_MAX, CLIENTS_MAX, FAULTS_MAX, SECONDS_MAX = 100, 16, 20, 60.0
STORY_BYTES_MAX = 64 << 10
STANDSTILL = ("deadlock", "stuck", "endless")  # how the explored world says that nothing goes on
LIBRARY = ("first_job", "worker_churn", "hung_worker", "zombie_ack", "last_moment")
DURABLE_LIBRARY = ("broker_crash", "power_loss", "torn_journal", "fsyncgate")
ON_REAL_PROCESSES = "worker_churn"


class Count(NamedTuple):
    """What became of one broker in the runs of one scenario."""

    broken: int  # runs in which one of the promises in question was
    runs: int
    proved: int  # runs that prove anything
    how: str
    story: str = ""  # of the first that was broken, on real processes
    folder: str = ""
    refused: str = ""  # why it was not explored, though that was tried

    @property
    def is_proof(self) -> bool:
        return 2 * self.proved > self.runs


class NotShown(Exception):
    """Why a scenario earns nothing; or, if `is_doubtful`, why nobody can tell."""

    def __init__(self, why: str, folder: str = "", is_doubtful: bool = False) -> None:
        self.folder, self.is_doubtful = folder, is_doubtful
        super().__init__(why)


def taken(own: Path, to: Path) -> Path:
    """A copy that is ours: what a broker is judged by must not change while it runs."""
    try:
        text = beginning(own, STORY_BYTES_MAX + 1)
    except FileNotFoundError:
        raise NotShown(f"There is no {own.name} beside your broker.py.") from None
    except OSError as error:
        raise NotShown(f"{own.name} cannot be read: {error.strerror}") from None
    if len(text) > STORY_BYTES_MAX:
        raise NotShown(f"{own.name} is longer than {STORY_BYTES_MAX >> 10} KiB.")
    copy = to / own.name
    copy.write_bytes(text)
    return copy


def shown(patient: Path, own: Path, terms: Patient) -> str:
    """What the scenario shows; NotShown if it does not show the bug."""
    named, sick = ", ".join(readable(own, terms).focus), told_apart(patient, own, terms)
    return f"{named} broken in {sick.broken} of {sick.runs} {sick.how}; the reference keeps all its promises."


def told_apart(patient: Path, own: Path, terms: Patient) -> Count:
    """How often the patient breaks its promise, where the reference breaks none; else NotShown."""
    focus = readable(own, terms).focus
    sick = count(own, Dsjq(patient), focus, live=terms.live)
    named, enough = ", ".join(focus), terms.shown_in if sick.how == EXPLORED else sick.runs
    if sick.broken < enough:
        raise NotShown(f"The broker broke {named} in {sick.broken} of {sick.runs} {sick.how}; "
                       f"it should in at least {enough}.")  # fmt: skip
    sound = count(own, Dsjq(), live=terms.live)
    if sound.broken:
        told, folder = story(own, Dsjq(), sound)
        raise NotShown(f"Your scenario accuses the reference (dsjq), which has no bug:\n{told}", folder)
    if not sound.is_proof:
        vain = f"{sound.runs - sound.proved} of {sound.runs} {sound.how}"
        raise NotShown(
            f"With the reference (dsjq) {vain} prove nothing: a fault did not strike, or finish_within is "
            "too short for it to come to rest.", is_doubtful=sound.how != EXPLORED,
        )  # fmt: skip
    return sick


def repaired(patient: Path, mended: Broker, own: Path, terms: Patient) -> str:
    """Where the repaired broker was seen to do well; NotShown if that is not enough."""
    sick = told_apart(patient, own, terms)  # else there is nothing to hold it against
    beside = [*LIBRARY, *(DURABLE_LIBRARY if terms.keeps else ())]
    hold(own, mended, live=sick.how != EXPLORED)
    for name in beside:
        hold(library.find("scenarios", name), mended, schedules=SCHEDULES_BESIDE)
    hold(library.find("scenarios", ON_REAL_PROCESSES), mended, live=True, runs_live=1)
    return f"It keeps all promises in your scenario, and in {', '.join(beside)}."


def hold(path: Path, mended: Broker, **how: Any) -> None:
    found = count(path, mended, **how)
    told, folder = story(path, mended, found) if found.broken else ("", found.folder)
    if found.broken:
        where = "your scenario" if path.name == OWN else path.stem
        raise NotShown(f"In {where}, {found.broken} of {found.runs} {found.how}:\n{told}", folder)
    if found.refused:  # a few real runs in which nothing went wrong are no proof
        raise NotShown(f"{path.stem}: this broker cannot be explored: {found.refused}", is_doubtful=True)
    if not found.is_proof:
        raise NotShown(f"{path.stem} proves nothing with this broker", folder, is_doubtful=True)


def readable(own: Path, terms: Patient) -> Scenario:
    """The student's scenario, if it may be played."""
    try:
        scenario = load(own)
    except ScenarioErrors as errors:
        raise NotShown(f"Your scenario has mistakes:\n{errors}") from None
    if reasons := list(objections(scenario, terms)):
        raise NotShown("\n".join(reasons))
    return scenario


def objections(scenario: Scenario, terms: Patient) -> Iterator[str]:
    if not scenario.focus:
        yield "Name under `focus` the promise that this broker breaks (dsjq-lab list invariants)."
    if scenario.expect:
        yield "Leave out `expect`: a sound broker keeps every promise in your scenario, without an excuse."
    if not terms.keeps and scenario.broker.store != "memory":
        yield "This broker keeps its jobs in memory and says so: `store` must be left out."
    sizes = (
        ("load.jobs", scenario.load.jobs, JOBS_MAX),
        ("load.producers + workers.count", scenario.load.producers + scenario.workers.count, CLIENTS_MAX),
        ("faults", len(scenario.faults), FAULTS_MAX),
        ("finish_within in seconds", scenario.finish_within_s, SECONDS_MAX),
        ("broker.ack_timeout in seconds", scenario.broker.ack_timeout_s, SECONDS_MAX),
    )
    for what, size, most in sizes:
        if size > most:
            yield f"{what} is {size:g}; here it may be {most:g} at most."


# -- To play it --------------------------------------------------------------------------------------------


def count(
    path: Path,
    broker: Broker,
    focus: Sequence[str] = (),
    *,
    live: bool = False,
    schedules: int = SCHEDULES,
    runs_live: int = LIVE_RUNS,
) -> Count:
    """In how many runs of a scenario one of the promises in `focus` is broken; any, if there are none."""
    found = None if live else explored(path, broker, focus, schedules)
    if found and not found.refused:
        return found
    return played(path, broker, focus, runs_live)._replace(refused=found.refused if found else "")


def explored(path: Path, broker: Broker, focus: Sequence[str], schedules: int) -> Count:
    """It is refused if the explored world lacks something that the scenario or the broker needs."""
    names = [*focus, *(STANDSTILL if "everything_finishes" in focus else ())]
    only = ["--only", ",".join(names)] if names else []
    result = explore(path, broker, "--runs", f"{schedules}", "--count", *only)
    proved = result["runs"] - result["unknown"]
    return Count(result["failing"], result["runs"], proved, EXPLORED, refused=result["refused"])


def played(path: Path, broker: Broker, focus: Sequence[str], times: int) -> Count:
    first = load(path).seed
    broken, proved, story, folder = 0, 0, "", ""
    for seed in range(first, first + times):
        place = runs.play(path, seed=seed, broker=broker)
        result = judged(place)
        wrong = [ruling.verdict for ruling in result.in_focus if ruling.standing == VIOLATED]
        wrong = [verdict for verdict in wrong if not focus or verdict.invariant in focus]
        proved += result.outcome != "unknown"
        broken += bool(wrong)
        if wrong and not story:
            folder, story = str(place), "\n".join(f"{one.invariant}: {one.summary}" for one in wrong)
    return Count(broken, times, proved, "runs on real processes", story, folder)


def story(path: Path, broker: Broker, found: Count) -> tuple[str, str]:
    """How it was broken, and the folder of that run; of schedules, the first that breaks it, shrunk."""
    if found.story:
        return found.story, found.folder
    failure = explore(path, broker, "--runs", f"{found.runs}")["failures"][0]
    return "\n".join([", ".join(failure["names"]), *failure["story"]]), failure.get("folder", "")
