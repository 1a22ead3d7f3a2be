"""Plays one check against a broker, and says what that proves.

All runs of a check must hold. What may be the fault of a busy machine (an unknown verdict, a broker that was
not ready, an answer that did not come) is tried once more with all times twice as long; what is unknown even
then needs a person.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from dsjq_lab import runs
from dsjq_lab.brokers import Broker, Command, Dsjq, Place
from dsjq_lab.conductor import Snapshot
from dsjq_lab.errors import LabError
from dsjq_lab.grading import repair
from dsjq_lab.grading.conversation import Conversation, Failed
from dsjq_lab.grading.exercise import PATIENT, Asked, Check, Exercise
from dsjq_lab.grading.exploring import explore
from dsjq_lab.grading.results import FAILED, NEEDS_A_PERSON, PASSED, Mark
from dsjq_lab.live import READY_TIMEOUT_S
from dsjq_lab.ports import PortLease
from dsjq_lab.processes import NotReady, Process, Processes, describe
from dsjq_lab.report import pictures, terminal
from dsjq_lab.report.explain import explain
from dsjq_lab.results import Result, judged
from dsjq_lab.scenario import load
from dsjq_lab.variation import Variation
from dsjq_lab.verdict import VIOLATED

SLOWER = 2.0
DYING_S = 0.5  # whoever ends has closed its connections some time before
Watch = Callable[[Snapshot], None]


class Finding(NamedTuple):
    verdict: str
    evidence: str = ""
    runs: tuple[str, ...] = ()
    may_be_busy: bool = False  # it is tried again, slower, before it counts


def judge(asked: Asked, broker: Broker, watch: Watch = lambda snapshot: None) -> Mark:
    started_s = time.monotonic()
    finding = find(asked, broker, 1.0, watch)
    if finding.may_be_busy:
        finding = find(asked, broker, SLOWER, watch)
    return marked(asked, finding, time.monotonic() - started_s)


def marked(asked: Asked, finding: Finding, seconds: float) -> Mark:
    check = asked.check
    return Mark(
        check.name, check.points, finding.verdict, finding.evidence,
        check.explain, finding.runs, asked.hidden, round(seconds, 2),
    )  # fmt: skip


def find(
    asked: Asked, broker: Broker, time_scale: float, watch: Watch = lambda snapshot: None
) -> Finding:
    """What one attempt finds."""
    if missing := untold(asked.check, broker):
        return Finding(FAILED, f"its command does not say {missing}, so the broker cannot know it")
    try:
        match asked.check.kind:
            case "conversation":
                return talk(asked, broker, time_scale)
            case "scenario":
                return play(asked, broker, time_scale, watch)
            case "patient":
                return examined(asked, broker)
            case _:
                return explored(asked, broker, time_scale)
    except NotReady as problem:
        return Finding(FAILED, str(problem), may_be_busy=not problem.crashed)
    except LabError as problem:
        return Finding(NEEDS_A_PERSON, f"the lab failed, not the submission: {problem}", may_be_busy=True)


def untold(check: Check, broker: Broker) -> str:
    """What the check needs and the command of a black box has no place for."""
    if not isinstance(broker, Command):
        return ""
    missing = [f"{{{name}}}" for name in check.needs if name not in broker.placeholders]
    return " and ".join(missing)


# -- A talk -----------------------------------------------------------------------------------------------


def talk(asked: Asked, broker: Broker, time_scale: float) -> Finding:
    folder = runs.new_folder(asked.path.stem)
    transcript = folder / "conversation.txt"
    said: list[str] = []
    problem: Failed | None = None
    with started(asked, broker, folder, time_scale) as (place, processes, process):
        try:
            Conversation.load(asked.path).hold((place.host, place.port), said.append, time_scale)
        except Failed as failed:
            problem = failed
            said += [f"{failed.instead}        <-- expected: {failed.step}", *last_words(processes, process)]
    transcript.write_text("\n".join(said) + "\n", encoding="utf-8")
    if problem is None:
        return Finding(PASSED)
    return Finding(FAILED, "\n".join(said), (str(folder),), may_be_busy=problem.silent)


@contextmanager
def started(
    asked: Asked, broker: Broker, folder: Path, time_scale: float
) -> Iterator[tuple[Place, Processes, Process]]:
    """A broker that listens; NotReady if it does not get there."""
    with PortLease() as lease, Processes(folder / "logs") as processes:
        place = place_of(asked.check, folder, lease.port, time_scale)
        process = processes.spawn("broker", broker.command(place), env=broker.environment(place))
        processes.wait_ready(process, lease.port, broker.ready_within_s or READY_TIMEOUT_S * time_scale)
        yield place, processes, process


def place_of(check: Check, folder: Path, port: int, time_scale: float) -> Place:
    options = check.broker
    data = folder.resolve() / "data"
    data.mkdir()
    return Place(
        host="127.0.0.1", port=port, data=data, ack_timeout_s=options.ack_timeout_s * time_scale,
        max_attempts=options.max_attempts, store=options.store,
        backoff_s=options.backoff_s, backoff_cap_s=options.backoff_cap_s,
    )  # fmt: skip


def last_words(processes: Processes, process: Process) -> Iterator[str]:
    if processes.wait_exit(process, DYING_S):
        yield f"The broker has ended: {describe(process.exit_status)}. The end of its log:"
        yield process.last_words()


# -- A scenario, on real processes ------------------------------------------------------------------------


def play(asked: Asked, broker: Broker, time_scale: float, watch: Watch) -> Finding:
    variation = asked.check.variation.then(Variation(time_scale=time_scale))
    first = load(asked.path, variation.changes).seed
    doubtful: Finding | None = None
    for seed in range(first, first + asked.check.runs):
        folder = runs.play(asked.path, seed=seed, broker=broker, variation=variation, on_progress=watch)
        result = judged(folder)
        if result.outcome == "fail":
            pictures.keep(result, folder)
            return Finding(FAILED, "\n".join(violations(result)), (str(folder),))
        if result.outcome == "unknown" and doubtful is None:
            pictures.keep(result, folder)
            doubtful = Finding(NEEDS_A_PERSON, "\n".join(doubts(result)), (str(folder),), may_be_busy=True)
    return doubtful or Finding(PASSED)


def violations(result: Result) -> Iterator[str]:
    """What went wrong, in the order of the scenario's interest; and the story of the first."""
    wrong = [ruling for ruling in result.in_focus if ruling.standing in (VIOLATED, "absent")]
    for verdict, standing, because in wrong:
        but = f"; it must be violated here: {because}" if standing == "absent" else ""
        yield f"{terminal.word(standing)} {verdict.invariant}: {verdict.summary}{but}"
    if result.model.end and not result.model.end.drained:
        yield f"The run did not come to rest: {result.model.end.why}"
    for verdict, _, _ in wrong[:1]:
        yield from explain(verdict, result.model)


def doubts(result: Result) -> Iterator[str]:
    yield from result.unproven
    yield from (f"{verdict.invariant}: {verdict.summary}" for verdict, *_ in result.with_standing("unknown"))


# -- A scenario, simulated --------------------------------------------------------------------------------


def can_be_explored(broker: Broker) -> bool:
    return isinstance(broker, Dsjq) or (isinstance(broker, Command) and broker.file is not None)


def explored(asked: Asked, broker: Broker, time_scale: float) -> Finding:
    check = asked.check
    changes = [word for change in check.variation.changes for word in ("--set", change)]
    try:
        result = explore(asked.path, broker, "--runs", str(check.runs), "--seed", "0", *changes)
    except LabError:  # a broker that does not listen on a real machine either has failed, and says why
        with started(asked, broker, runs.new_folder(asked.path.stem), time_scale):
            raise
    failures = result["failures"]
    if result["outcome"] == "fail":
        story = [", ".join(failures[0]["names"]), *failures[0]["story"]]
        return Finding(FAILED, "\n".join(story), (failures[0].get("folder", ""),))
    if result["outcome"] == "unknown":
        why = result["refused"] or "no run proved anything"
        return Finding(NEEDS_A_PERSON, f"cannot be explored: {why}")
    return Finding(PASSED)


# -- A broker with a bug ----------------------------------------------------------------------------------


def examined(asked: Asked, broker: Broker) -> Finding:
    terms = asked.check.patient
    assert terms is not None
    file = broker.file if isinstance(broker, Dsjq | Command) else None
    if file is None:
        return Finding(FAILED, f"Which file is it? Say --broker {PATIENT}, with {repair.OWN} beside it.")
    with tempfile.TemporaryDirectory(prefix="dsjq-lab-") as ours:
        try:
            own = repair.taken(file.parent / repair.OWN, Path(ours))
            if terms.asks == "scenario":
                return Finding(PASSED, repair.shown(asked.path, own, terms))
            return Finding(PASSED, repair.repaired(asked.path, broker, own, terms))
        except repair.NotShown as why:
            verdict = NEEDS_A_PERSON if why.is_doubtful else FAILED
            folders = (why.folder,) if why.folder else ()
            told = str(why).replace(f"{ours}/", "")
            return Finding(verdict, told, folders, may_be_busy=why.is_doubtful)


def points_moved(exercise: Exercise, broker: Broker) -> tuple[Exercise, tuple[str, ...]]:
    """Where the submission is no Python program, the points for schedules go to the other checks, in
    proportion: nobody is graded by their language.
    """
    others = [asked for asked in exercise.checks if asked.check.kind != "explore"]
    if can_be_explored(broker) or not others or len(others) == len(exercise.checks):
        return exercise, ()
    whole, part = exercise.points, sum(asked.check.points for asked in others)
    moved, given, weight = [], 0, 0
    for asked in others:
        weight += asked.check.points
        points = whole * weight // part - given  # so that the shares add up to the whole
        given += points
        moved.append(asked._replace(check=asked.check.model_copy(update={"points": points})))
    note = (f"This broker is no Python program (python3 FILE.py …), so its schedules cannot be explored: "
            f"the {whole - part} points for that go to the other checks.")  # fmt: skip
    return exercise._replace(checks=moved), (note,)
