"""The kernel of the explored world: tasks, of which one runs; a clock that jumps; and who runs next.

A *task* is one thread of a simulated process. It runs until it blocks, or until it passes a *point* at which
the strategy wants somebody else to run. Points lie before every operation of a simulated module, and between
the statements of the code under study (points.py). They are counted task by task, and that count is the
address of every decision: "broker/accept, at its 57th point: run producer 1". When every task is blocked the
clock jumps to the next timer, so a minute of waiting takes no time.

Nothing happens by chance. The strategy has the only dice, and each decision that differs from the default
(stay; else run the first that is ready; the clock is on time; nothing goes wrong) is noted as a Deviation. So
the deviations are the whole schedule of a run: run again under them, it repeats to the byte (schedule.py).

A killed process vanishes as a real one does: none of its `finally` and `except` blocks has an effect. Its
stacks are unwound by raising SimKilled at each of their points, so they can compute, and change nothing.
"""

import heapq
import itertools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from dsjq_lab.sim import stacks
from dsjq_lab.sim.countdown import COUNTDOWN, FOREVER, point
from dsjq_lab.sim.tasks import Deviation, Endless, Place, SimError, SimKilled, Stuck, Task

if TYPE_CHECKING:
    from dsjq_lab.sim.net import Network
    from dsjq_lab.sim.process import Process
    from dsjq_lab.sim.schedule import Strategy

START_NS = 1_000_000_000_000  # of the monotonic clock: no program may take it for the time since its start
OPERATION_NS = 1_000  # what every operation takes, so that whoever waits in a loop sees time pass
STEPS_MAX = 5_000_000  # points of a whole run
DYING_POINTS_MAX = 1_000  # points that a killed task may pass before it is set aside as incorrigible


class Kernel:
    """One run. `run` plays it; everything else is called by what runs in it."""

    network: "Network"

    def __init__(self, strategy: "Strategy") -> None:
        self.strategy = strategy
        self.new_stack = stacks.chosen()
        self.now_ns = START_NS
        self.calendar_s = 0.0  # by how much somebody has set the wall clock forward
        self.stalled_ns = 0  # the time for which tasks stood still, in all
        self.ready: list[Task] = []  # among them the one that runs
        self.timers: list[tuple[int, int, Task, int]] = []  # a heap: when, a tie-breaker, whom, its alarm
        self.numbers = itertools.count(1)
        self.names: dict[str, int] = {}
        self.steps = 0
        self.armed = FOREVER  # the countdown's value when the count of the current task was last brought up
        self.deviations: list[Deviation] = []
        self.trail: list[tuple[str, int, int]] = []  # every switch: to whom, at which of its points, when
        self.processes: list[Process] = []
        self.interrupted = False  # some process has signal handlers to run
        self.interrupted_at: set[Place] = set()
        self.asked = 0  # how often the strategy was, at a point
        self.broken: Exception | None = None  # why the run was ended
        self.refused: list[str] = []  # what the program asked for in vain, and may have gone on without
        self.on_death: Callable[[Task, BaseException], object] = lambda task, problem: None
        self.on_deadlock: Callable[[list[tuple[Task, Any]]], object] = lambda circle: None
        self.watcher: Any = None  # detectors.py, told of everything that orders tasks

    # -- The run

    def run(self, story: Callable[[], Any]) -> Any:
        """Calls `story` as a task of its own, the only one that belongs to no process; returns its result."""
        global _running
        self.root = self.current = Task(None, "lab", lambda: None)
        self.killer = self.root
        self.root.stack = self.new_stack()
        self.ready.append(self.root)
        _running = self
        COUNTDOWN.call(self._at_zero)
        self.strategy.begin(self)
        self.strategy.arrived(self.root)
        self._arm()
        try:
            return story()
        finally:
            for process in self.processes:
                if process.alive:
                    self.end(process, -9)
            COUNTDOWN.put(FOREVER)
            _running = None

    def abort(self, why: Exception) -> NoReturn:
        """Ends the run, whoever is running."""
        self.broken = self.broken or why
        self.settle()
        if self.current is not self.root:
            self._switch(self.root)
        raise self.broken

    # -- Points

    def _arm(self) -> None:
        task = self.current
        self.armed = 1 if task.dying else min(self.strategy.steps(task), STEPS_MAX - self.steps + 1)
        COUNTDOWN.put(self.armed)

    def settle(self) -> None:
        """Brings the counts up to date."""
        left = COUNTDOWN.get()
        passed = self.armed - left
        self.current.count += passed
        self.steps += passed
        self.armed = left

    def _at_zero(self) -> None:
        """The current task has come to a point at which the strategy wants to be asked."""
        self.settle()
        self.asked += 1
        task = self.current
        if task.dying:
            self._haunt(task)
        if self.steps > STEPS_MAX:
            self.abort(Endless(f"more than {STEPS_MAX} points: {task} runs on and on"))
        choice = self.strategy.at_point(task)
        if choice is task:
            self._arm()
            return
        frame = sys._getframe(2)  # of the code that has the point
        self.interrupted_at.add((frame.f_code.co_filename, frame.f_lineno))
        if isinstance(choice, int):
            self.deviations.append(Deviation(task.name, task.count, "stall", choice))
            self.stalled_ns += choice
            self._suspend(task, self.now_ns + choice, "nothing: it is stalled", ())
        else:
            self._deviate(choice)

    def _haunt(self, task: Task) -> NoReturn:
        """Raises in a task that was killed, at each of its points. One that goes on is set aside."""
        task.dying += 1
        if task.dying > DYING_POINTS_MAX:
            stacks.lose(task.stack)
            while True:
                task.stack.switch(self._heir(task).stack)
        self._arm()
        raise SimKilled

    def look_at_clock(self) -> int:
        """Takes a microsecond, too, but is no point: whoever looks at the clock shows nothing to others."""
        self.now_ns += OPERATION_NS
        if self.timers and self.timers[0][0] <= self.now_ns:
            self._ring()
        if self.interrupted:
            self._handle_signals(self.current)
        return self.now_ns

    def operation(self, about: Any = None) -> Task:
        """Whatever a simulated module does begins here: a point, and a microsecond."""
        asked = self.asked
        point()
        task = self.current
        if self.strategy.at_operations and self.asked == asked and len(self.ready) > 1:
            task.pending = about
            choice = self.strategy.at_operation(task)
            if choice is not task:
                self.settle()
                self._deviate(choice)
        self.now_ns += OPERATION_NS
        if self.timers and self.timers[0][0] <= self.now_ns:
            self._ring()
        if self.interrupted:
            self._handle_signals(task)
        return task

    def draw(self, what: str, outcomes: int) -> int:
        """Which of its possible outcomes something has; 0 is the ordinary one."""
        task = self.current
        self.settle()
        task.count += 1
        outcome = self.strategy.draw(what, outcomes)
        if outcome:
            self.deviations.append(Deviation(task.name, task.count, "draw", outcome))
        if self.strategy.by_task:
            self._arm()
        return outcome

    def _deviate(self, to: Task) -> None:
        task = self.current
        self.deviations.append(Deviation(task.name, task.count, "run", to.name))
        self._switch(to)

    # -- Blocking and waking

    def block(self, waiting: Any, deadline_ns: int | None, *wait_lists: list[Task]) -> bool:
        """Waits to be woken: by whoever finds the task in a wait list, or (then False) by the clock."""
        task = self.current
        self.settle()
        task.count += 1  # the address of this decision
        self.steps += 1
        while True:
            self._suspend(task, deadline_ns, waiting, wait_lists)
            if task.outcome != "signal":
                return task.outcome == "woken"
            self._handle_signals(task)

    def _suspend(
        self, task: Task, deadline_ns: int | None, waiting: Any, wait_lists: tuple[list[Task], ...]
    ) -> None:
        self.ready.remove(task)
        task.waiting, task.wait_lists = waiting, wait_lists
        task.alarm += 1
        for wait_list in wait_lists:
            wait_list.append(task)
        if deadline_ns is not None:
            heapq.heappush(self.timers, (deadline_ns, next(self.numbers), task, task.alarm))
        self._switch(self._next())

    def wake(self, task: Task, outcome: str = "woken") -> None:
        for wait_list in task.wait_lists:
            wait_list.remove(task)
        task.wait_lists, task.waiting, task.outcome = (), None, outcome
        task.alarm += 1
        self._admit(task)

    def _handle_signals(self, task: Task) -> None:
        """Handlers run in the main thread, between two operations, as in any Python program."""
        if task.process and task is task.process.main and not task.dying:
            task.process.handle_signals()

    def wake_all(self, wait_list: list[Task]) -> None:
        for task in tuple(wait_list):
            self.wake(task)

    def _admit(self, task: Task) -> None:
        if task.process is not None and task.process.paused:
            task.process.parked.append(task)
        else:
            self.ready.append(task)
            self.strategy.arrived(task)

    def deadline(self, timeout_s: float | None) -> int | None:
        """When a time-out ends. Never early: a sleeper that looks at the clock finds its time over."""
        return None if timeout_s is None else self.now_ns + max(0, int(timeout_s * 1e9)) + 1

    # -- Who runs next

    def _next(self) -> Task:
        """Somebody who is ready; the clock jumps until there is."""
        late_ns: int | None = None  # drawn once, since the decision has but one address
        while not self.ready:
            if not self.timers:
                self.broken = Stuck("nobody can ever run again")
                return self.root
            if self.timers[0][0] > self.now_ns:
                late_ns = self._lateness() if late_ns is None else 0
                self.now_ns = self.timers[0][0] + late_ns
            self._ring()
        if len(self.ready) == 1:
            return self.ready[0]
        choice = self.strategy.at_block(self.current)
        if choice is not self.ready[0]:
            self.deviations.append(Deviation(self.current.name, self.current.count, "run", choice.name))
        return choice

    def _lateness(self) -> int:
        late_ns = self.strategy.lateness_ns()
        if late_ns:
            self.deviations.append(Deviation(self.current.name, self.current.count, "late", late_ns))
        return late_ns

    def _ring(self) -> None:
        while self.timers and self.timers[0][0] <= self.now_ns:
            _, _, task, alarm = heapq.heappop(self.timers)
            if task.alarm == alarm:
                self.wake(task, "timeout")

    def _switch(self, to: Task) -> None:
        """Runs another task, or goes on; the counts of the current one are up to date."""
        before = self.current
        if to is not before:
            self.current = to
            self.trail.append((to.name, to.count, self.now_ns))
        if self.strategy.by_task:
            self._arm()
        if to is not before:
            before.stack.switch(to.stack)
        if self.broken and before is self.root:
            raise self.broken
        if before.dying:
            raise SimKilled

    # -- Tasks

    def start(
        self,
        process: "Process",
        name: str,
        body: Callable[[], object],
        thread: Any = None,
        daemon: bool = False,
    ) -> Task:
        """A new task, ready to run. Tasks of one name are numbered."""
        number = self.names[name] = self.names.get(name, 0) + 1
        task = Task(process, name if number == 1 else f"{name}~{number}", body)
        task.thread, task.daemon = thread, daemon
        task.stack = self.new_stack(lambda: self._live(task))
        process.tasks.append(task)
        if self.watcher:
            self.watcher.forked(self.current, task)
        self._admit(task)
        return task

    def _live(self, task: Task) -> stacks.Stack:
        """A task from its first point to its last. Returns the stack that runs after it."""
        assert task.process is not None
        try:
            if not task.dying:
                task.body()
        except SimKilled:
            pass
        except BaseException as problem:
            if not task.dying:
                self._die_of(task, problem)
        if not task.dying:
            self._bury(task)
        return self._heir(task).stack

    def _die_of(self, task: Task, problem: BaseException) -> None:
        process = task.process
        assert process is not None
        if isinstance(problem, SystemExit):
            if task is process.main:
                process.exit_with(problem.code)
        elif isinstance(problem, SimError):
            self.broken = problem
        else:
            if task is process.main:
                process.status = 1
            process.complain(task, problem)
            self.on_death(task, problem)

    def _bury(self, task: Task) -> None:
        """A task has come to its end, and perhaps its process with it."""
        process = task.process
        assert process is not None
        self.settle()
        task.count += 1
        self.ready.remove(task)
        process.tasks.remove(task)
        if self.watcher:
            self.watcher.released(task, task)
        for joiner in task.joiners or ():
            self.wake(joiner)
        task.joiners = None
        if process.main.done and all(other.daemon for other in process.tasks):
            self.end(process, process.status or 0)

    def _heir(self, task: Task) -> Task:
        """Who runs after a task that has ended: its killer, or whoever is next."""
        if task.dying and self.killer is not task:
            return self.killer
        to = self.root if self.broken else self._next()
        self.current = to
        self.trail.append((to.name, to.count, self.now_ns))
        self._arm()
        return to

    # -- Processes

    def end(self, process: "Process", status: int) -> None:
        """The process is gone, and with it its memory, its tasks and its end of every connection."""
        self.settle()
        killer = self.current
        process.alive, process.status = False, status
        tasks, process.tasks = process.tasks, []
        process.parked.clear()
        for task in tasks:
            task.dying = 1
            for wait_list in task.wait_lists:
                wait_list.remove(task)
            task.wait_lists, task.joiners = (), None
            task.alarm += 1
            if task in self.ready:
                self.ready.remove(task)
        self.killer = killer
        for task in tasks:
            if task is not killer and task.stack.begun:
                self.current = task
                self._arm()
                killer.stack.switch(task.stack)
        self.current = killer
        process.release()
        self.wake_all(process.exit_waiters)
        process.on_exit(status)
        self._arm()
        if killer.dying:
            raise SimKilled

    def pause(self, process: "Process") -> None:
        """SIGSTOP: none of its tasks runs, whatever wakes them."""
        process.paused = True
        for task in process.tasks:
            if task in self.ready:
                self.ready.remove(task)
                process.parked.append(task)

    def resume(self, process: "Process") -> None:
        process.paused = False
        parked, process.parked = process.parked, []
        for task in parked:
            self._admit(task)


_running: Kernel | None = None


def sim() -> Kernel:
    """The run that goes on in this interpreter."""
    assert _running is not None, "this belongs to the explored world, and no run is going on"
    return _running

