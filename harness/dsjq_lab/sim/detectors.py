"""Two detectors that see a bug in a run in which it does no harm.

A *data race*: two threads touch the same attribute, one of them writes, and nothing orders the two accesses:
no lock, no event, no message, no start or join of a thread. Found by vector clocks (Fidge and Mattern,
1988): each thread counts its steps, and whatever passes from one thread to another carries the counts along.

A *lock order*: one thread takes lock B while it holds A, another takes A while it holds B. They have not
waited for each other this time; some other time they will. Not reported if both hold a third lock meanwhile.

Both need a loader that puts calls of `__access__` beside the points (points.py). What they say is a warning,
not a verdict: a flag that one thread sets and others read is a race by this definition, and often harmless.
"""

from collections import deque
from types import ModuleType
from typing import Any, NamedTuple

from dsjq_lab.sim.kernel import sim
from dsjq_lab.sim.tasks import Task

Vector = dict[Task, int]
CONTAINERS = (list, dict, set, deque, bytearray)


class Access(NamedTuple):
    task: Task
    step: int  # of its task
    place: str


class Variable:
    """One attribute of one object: the last write, and who has read it since."""

    def __init__(self, owner: object) -> None:
        self.owner = owner  # kept alive, so that its id is not given to another
        self.write: Access | None = None
        self.reads: dict[Task, Access] = {}


class Detectors:
    """The watcher of one run (Kernel.watcher). `races` and `inversions` are in words, each once."""

    def __init__(self) -> None:
        self.variables: dict[tuple[int, str], Variable] = {}
        self.orders: dict[tuple[Any, Any], tuple[Task, frozenset[Any]]] = {}  # (held, wanted) -> who, holding
        self.found: dict[tuple[str, ...], None] = {}
        self.races: list[str] = []
        self.inversions: list[str] = []

    # -- What orders threads

    def vector(self, task: Task) -> Vector:
        if not task.vector:
            task.vector[task] = 1
        return task.vector

    def forked(self, parent: Task, child: Task) -> None:
        child.vector = {**self.vector(parent), child: 1}
        parent.vector[parent] += 1

    def released(self, task: Task, thing: Any) -> None:
        """What the task has done so far comes before whatever they do who acquire the thing later."""
        vector = self.vector(task)
        if thing is not task:
            thing.vector = merged(thing.vector or {}, vector)
        vector[task] += 1

    def acquired(self, task: Task, thing: Any) -> None:
        task.vector = merged(self.vector(task), thing.vector or {})

    # -- Lock orders

    def wanted(self, task: Task, lock: Any) -> None:
        """The task is about to take the lock, or to wait for it."""
        held = frozenset(task.held)
        for other in held:
            self.orders.setdefault((other, lock), (task, held - {other}))
            if before := self.orders.get((lock, other)):
                opponent, gates = before
                if opponent is not task and not gates & held:
                    self.report(self.inversions, f"{task} wants {lock} while it holds {other}, "
                                f"and {opponent} takes them the other way round", str(lock), str(other))

    # -- Races

    def access(self, owner: object, name: str, writes: bool, place: str) -> None:
        task = sim().current
        if isinstance(owner, type | ModuleType) or task.dying:
            return
        if name.endswith("[]") and not isinstance(getattr(owner, name[:-2], None), CONTAINERS):
            return  # it has a method of that name, and is no container
        vector = self.vector(task)
        key = (id(owner), name)
        if key not in self.variables:
            self.variables[key] = Variable(owner)
        variable = self.variables[key]
        rivals = [variable.write, *(variable.reads.values() if writes else ())]
        for rival in rivals:
            if rival and rival.task is not task and vector.get(rival.task, 0) < rival.step:
                what, how = f"{type(owner).__name__}.{name}", "writes" if writes else "reads"
                text = f"{what}: {task} {how} it at {place}, and nothing orders that and the access of "
                text += f"{rival.task} at {rival.place}"
                self.report(self.races, text, what, *sorted((place, rival.place)))
        access = Access(task, vector[task], place)
        if writes:
            variable.write, variable.reads = access, {}
        else:
            variable.reads[task] = access

    def report(self, shelf: list[str], text: str, *key: str) -> None:
        if key not in self.found:
            self.found[key] = None
            shelf.append(text)


def merged(one: Vector, other: Vector) -> Vector:
    return {task: max(one.get(task, 0), other.get(task, 0)) for task in {**one, **other}}
