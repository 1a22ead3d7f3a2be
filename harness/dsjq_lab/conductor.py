"""One thread conducts an experiment: it starts the processes, strikes on cue, and knows when it is over.

All it does is wait for the next event of the world, or for the next moment on its list, and act on it. It
has no clock, no socket and no operating system of its own (world.py), so the same code conducts processes
that are real and processes that are simulated; its dice are seeded.

An experiment is over when it has *drained*: all jobs are submitted, all faults have ended, and every worker
has seen an empty queue for longer than any lease can last. Only then is a job that nobody finished lost.
"""

import heapq
import itertools
from collections.abc import Callable, Mapping
from functools import partial
from signal import SIGKILL
from typing import Any, NamedTuple

from dsjq_lab.cast import Member, cast
from dsjq_lab.history import Op
from dsjq_lab.ledger import Ledger
from dsjq_lab.scenario import Scenario
from dsjq_lab.strikes import Strikes
from dsjq_lab.tally import Tally
from dsjq_lab.workload import timeout_s
from dsjq_lab.world import Effect, Event, Exit, Gate, Ready, Struck, World

SECOND_NS = 1_000_000_000
PROGRESS_INTERVAL_NS = SECOND_NS // 10
REST_NS = 2 * SECOND_NS  # how long a broker may take to let go of what its clients have used,
IDLE_MS = 100  # if it is idle: has used less of a processor in that time;
WORK_MS = 5_000  # and no more than that in all, if it never is
TOO_BUSY = "this machine is too busy: a thread woke too late"
PAUSES_S = 0.5  # a client that is well pauses less than this between two questions, work and time-outs apart


class Snapshot(NamedTuple):
    """What a display shows of a running experiment."""

    seconds: float
    processes: dict[str, tuple[str, str | None]]  # name -> its state (cast.py), nonce of the job at hand
    counts: dict[str, int]
    latest_strike: str


def conduct(
    scenario: Scenario, world: World, on_progress: Callable[[Snapshot], None] | None = None
) -> None:
    """Plays the scenario in the world, whose history then ends with the lab's word on its own side."""
    Conductor(scenario, world, on_progress).run()


class Conductor:
    def __init__(
        self, scenario: Scenario, world: World, on_progress: Callable[[Snapshot], None] | None
    ) -> None:
        self.scenario, self.world, self.on_progress = scenario, world, on_progress
        self.tally = Tally(audited=not world.core)
        self.ledger = Ledger(scenario.workers.effect)
        everybody = cast(scenario, audited=not world.core, strangers=world.knows_strangers)
        self.members = {member.name: member for member in everybody}
        self.broker = self.members["broker"]
        self.strikes = Strikes(self, list(self.members.values()), scenario.seed)
        self.moments: list[tuple[int, int, Callable[[], None]]] = []  # a heap: when, a tie-breaker, what
        self.numbers = itertools.count()
        self.start_ns = world.now_ns()
        self.calm_ns = 0  # since when there was no new job
        self.patience_ns = to_ns(scenario.finish_within_s)
        self.lease_ns = to_ns(scenario.broker.ack_timeout_s)
        self.delivered: set[str] = set()  # jobs
        self.broker_is_up = False
        self.broker_lost = ""  # how, if not by a fault
        self.resting: dict[str, int] = {}  # what the broker used before it had a client
        self.mishaps: list[str] = []  # what went wrong on the lab's own side
        self.closing = False

    def run(self) -> None:
        self.start("broker")
        self.play(until=lambda: self.broker_is_up)
        for name in self.members:
            if name != "broker":
                self.start(name)
        self.start_ns = self.calm_ns = self.world.now_ns()
        for fault in self.scenario.faults:
            self.strikes.plan(fault)
        self.strikes.happened("broker_ready", self.broker)
        self.play(until=self.is_over)
        self.close()

    def play(self, until: Callable[[], bool]) -> None:
        """Acts on events and moments as they come. `until` is asked at least ten times a second."""
        look_up_ns = 0
        while not until():
            now_ns = self.world.now_ns()
            if now_ns >= look_up_ns:
                look_up_ns = now_ns + PROGRESS_INTERVAL_NS
                if self.on_progress:
                    self.on_progress(self.snapshot())
            while self.moments and self.moments[0][0] <= now_ns:
                heapq.heappop(self.moments)[2]()
            next_ns = min(look_up_ns, self.moments[0][0]) if self.moments else look_up_ns
            for event in self.world.next_events(next_ns):
                self.handle(event)
            self.strikes.grant_waiting()

    # -- What a fault may use (faults/fault.py: Lab)

    def later(self, seconds: float, action: Callable[[], None]) -> int:
        time_ns = self.world.now_ns() + to_ns(seconds)
        heapq.heappush(self.moments, (time_ns, next(self.numbers), action))
        return time_ns

    def note(self, process: str, f: str, value: Mapping[str, Any]) -> int:
        return self.world.record(process, f, value).time_ns

    def start(self, name: str) -> None:
        member = self.members[name]
        member.excuse = None
        member.incarnation += 1
        member.alive, member.job, member.empty_from_ns = True, None, None
        if member is self.broker:
            self.broker_is_up = False
        member.asked_ns = self.world.now_ns()
        self.world.spawn(
            name, {**member.config, "incarnation": member.incarnation, "jobs": list(member.left)}
        )
        if name != "broker":  # whose Ready is still to come
            self.strikes.is_up(member)

    # -- Events

    def handle(self, event: Event) -> None:
        member = self.members[event.process]
        match event:
            case Op():
                member.observe(event)
                self.tally.add(event)
                if event.f in ("submit", "kick") and event.type == "ok":
                    self.calm_ns = max(self.calm_ns, event.time_ns)
            case Gate():
                self.pass_gate(member, event)
            case Effect():
                self.write(event)
            case Struck():
                self.strikes.hear_proof(member, event.value)
            case Ready():
                self.broker_ready(event)
            case Exit():
                self.bury(member, event)

    def pass_gate(self, member: Member, gate: Gate) -> None:
        """The client waits here until we say go: what strikes now, strikes at exactly this moment."""
        if gate.event in ("stuck", "kicked"):  # no gates but reports
            self.strikes.hear_report(member, bitten=bool(gate.job))
            return
        self.strikes.happened(gate.event, member, gate.job)
        if gate.event == "delivered":
            if gate.job in self.delivered:
                self.strikes.happened("redelivered", member, gate.job)
            self.delivered.add(gate.job)
        self.world.tell(member.name, "go")

    def write(self, effect: Effect) -> None:
        """To the ledger: the worker waits for the answer."""
        error = self.ledger.write(effect.value)
        value = {**effect.value, "kind": self.ledger.kind}
        self.world.record("ledger", "effect", value, "fail" if error else "ok", error or None)
        fenced_off = error and self.ledger.kind == "fenced"  # else what was turned away is there already
        self.world.tell(effect.process, "fenced off" if fenced_off else "done")

    def broker_ready(self, ready: Ready) -> None:
        if ready.problem is not None:
            if self.broker.incarnation == 1:
                raise ready.problem
            self.broker_lost = f"the broker did not come back: {ready.problem}"
            return
        self.broker_is_up = True
        self.note("lab", "broker_ready", {"incarnation": self.broker.incarnation})
        self.resting = self.measure("ready")
        self.strikes.is_up(self.broker)
        if self.broker.incarnation > 1:
            self.strikes.happened("broker_ready", self.broker)

    def bury(self, member: Member, exit: Exit) -> None:
        finished = exit.status == 0 and (self.closing or (member.role == "producer" and not member.left))
        strike = member.strike if self.strikes.explains_exit(member) else None
        planned = finished or strike is not None or self.strikes.excuse_exit(member)
        self.note("lab", "exit", {"victim": member.name, "status": exit.status, "planned": planned})
        member.alive, member.job = False, None
        if strike is not None:
            self.strikes.confirm(strike)
        elif not planned and member is self.broker:
            self.broker_lost = self.broker_lost or f"the broker ended by itself, status {exit.status}"
            if exit.status == -SIGKILL:  # as the kernel does when memory runs out
                self.mishaps.append("somebody else killed the broker")
        elif not planned:
            self.mishaps.append(f"{member.name} ended by itself, status {exit.status}")

    # -- The end

    def is_over(self) -> bool:
        """As soon as it is decided; or when we have waited long enough for what does not come."""
        if self.broker_gone() or not self.obstacle():
            return True
        calm_ns = max(self.calm_ns, self.strikes.calm_ns)
        if self.broker.alive and not self.broker_is_up:
            calm_ns = self.broker.asked_ns + to_ns(self.world.ready_timeout_s)  # some take long to start
        return self.world.now_ns() > calm_ns + self.patience_ns + self.world.lateness_ns

    def broker_gone(self) -> str:
        """Why it never comes back, if it does not."""
        return self.broker_lost or ("the broker is gone for good" if self.broker.retired else "")

    def obstacle(self) -> str:
        """Why the run has not drained yet; empty if it has.

        A broker whose counts are at rest is believed; to a black box we leave the time to give back all that
        it may still owe.
        """
        if gone := self.broker_gone():
            return gone
        if not self.strikes.are_over():
            return "a fault has not ended"
        for member in self.members.values():
            if member.role == "producer" and not member.retired and (member.alive or member.left):
                return f"{member.name} has not submitted all its jobs"
        if self.tally.audited and self.tally.rests < 2:
            return f"the broker's counts are not at rest: {self.tally.left_to_do()}"
        lease_ns = self.lease_ns + self.world.lateness_ns
        if not self.tally.audited and self.tally.unsettled:
            lease_ns += to_ns(2 * self.scenario.tolerance_s + max(self.scenario.load.delays_s))
        for worker in self.workers():
            if worker.empty_ns <= lease_ns:
                return f"{worker.name} has not seen an empty queue for longer than a lease"
        return ""

    def workers(self) -> list[Member]:
        return [member for member in self.members.values() if member.role == "worker" and not member.retired]

    def close(self) -> None:
        """Looks whether all is in order, lets everybody finish and say so, and writes the last line."""
        obstacle, now_ns = self.obstacle(), self.world.now_ns()
        ack_timeout_s = self.scenario.broker.ack_timeout_s
        patience_ns = to_ns(timeout_s(ack_timeout_s) + self.scenario.workers.work_time_s + PAUSES_S)
        self.play(until=lambda: not self.silent(patience_ns) or self.world.now_ns() > now_ns + patience_ns)
        self.mishaps += [f"{worker.name} has stopped asking" for worker in self.silent(patience_ns)]
        if self.world.own_lateness_ns >= to_ns(ack_timeout_s / 4):
            self.mishaps.append(TOO_BUSY)
        self.dismiss(now_ns + 2 * patience_ns)
        self.strikes.let_go()
        self.let_rest()
        self.world.collect()
        self.note("lab", "end", {
            "drained": not obstacle,
            "why": "; ".join(filter(None, [obstacle, *self.mishaps])),
            "healthy": not self.mishaps,
            "decided": bool(self.broker_lost),
            "epsilon_ns": self.world.lateness_ns,
        })  # fmt: skip
        if self.on_progress:
            self.on_progress(self.snapshot())

    def silent(self, patience_ns: int) -> list[Member]:
        """Workers that should have asked. It may be the lab that has not listened: it, too, can be busy."""
        since_ns = self.world.now_ns() - patience_ns
        well = [worker for worker in self.workers() if worker.alive and worker.strike is None]
        return [worker for worker in well if worker.asked_ns < since_ns]

    def dismiss(self, deadline_ns: int) -> None:
        """Ends the faults, and asks the clients to finish what they have in hand."""
        self.closing = True
        self.moments.clear()
        self.strikes.dismiss()
        clients = [member for member in self.members.values() if member is not self.broker and member.alive]
        for client in clients:
            self.world.tell(client.name, "stop")
        self.play(
            until=lambda: not any(client.alive for client in clients) or self.world.now_ns() > deadline_ns
        )
        self.mishaps += [f"{client.name} did not stop when asked" for client in clients if client.alive]

    def let_rest(self) -> None:
        """Measures what the broker uses when everybody has gone, as soon as it uses no more than before.

        It may have work in hand for those who have gone, and a busy machine may give it little time for that.
        So a while counts only if the broker has done next to nothing in it, or has had time enough by now.
        """
        worked_ms = self.worked_ms()
        enough_ms = worked_ms + WORK_MS
        while not self.is_as_before():
            before_ms = worked_ms
            deadline_ns = self.world.now_ns() + REST_NS
            self.play(until=partial(self.has_rested, deadline_ns))
            worked_ms = self.worked_ms()
            if worked_ms - before_ms < IDLE_MS or worked_ms > enough_ms:
                break
        self.measure("end")

    def has_rested(self, deadline_ns: int) -> bool:
        return self.is_as_before() or self.world.now_ns() > deadline_ns

    def is_as_before(self) -> bool:
        now = self.world.resources("broker")
        return all(now.get(what, 0) <= self.resting.get(what, 0) for what in ("threads", "descriptors"))

    def worked_ms(self) -> int:
        return self.world.resources("broker").get("cpu_ms", 0)

    def measure(self, moment: str) -> dict[str, int]:
        resources = self.world.resources("broker")
        if resources:
            about = {"victim": "broker", "moment": moment, "incarnation": self.broker.incarnation}
            self.note("lab", "resources", {**about, **resources})
        return resources

    def snapshot(self) -> Snapshot:
        seconds = (self.world.now_ns() - self.start_ns) / SECOND_NS
        processes = {member.name: (member.state, member.job) for member in self.members.values()}
        return Snapshot(seconds, processes, self.tally.progress(), self.strikes.latest)


def to_ns(seconds: float) -> int:
    return round(seconds * SECOND_NS)
