"""One thread conducts an experiment: it starts the processes, strikes on cue, and knows when it is over.

All it does is wait for the next event of the world, or for the next moment on its list, and act on it. It
has no clock, no socket and no operating system of its own (world.py), so the same code conducts processes
that are real and processes that are simulated; its dice are seeded.

An experiment is over when it has *drained*: all jobs are submitted, all faults have ended, and every worker
has seen an empty queue for longer than any lease can last. Only then is a job that nobody finished lost.
"""

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from dsjq_lab.cast import Member, Strike, cast
from dsjq_lab.faults import FAULTS
from dsjq_lab.history import Op
from dsjq_lab.processes import NotReady
from dsjq_lab.scenario import Fault, Scenario, When
from dsjq_lab.tally import Tally
from dsjq_lab.workload import timeout_s
from dsjq_lab.world import Event, Exit, Gate, Signal, World

SECOND_NS = 1_000_000_000
PROGRESS_INTERVAL_NS = SECOND_NS // 10
BLACK_BOX_SLACK_NS = SECOND_NS  # how late a broker that speaks only the four commands may end a lease
PAUSES_S = 0.5  # a client that is well pauses less than this between two questions, work and time-outs apart


class Snapshot(NamedTuple):
    """What a display shows of a running experiment."""

    seconds: float
    processes: dict[str, tuple[str, str | None]]  # name -> (idle|busy|paused|ended, nonce of the job at hand)
    counts: dict[str, int]
    latest_strike: str


class Request(NamedTuple):
    """A fault whose moment has come. It waits while too many of its possible victims are struck already."""

    fault: Fault
    that: Member | None  # who waits at the gate that called for it


def conduct(
    scenario: Scenario, world: World, on_progress: Callable[[Snapshot], None] = lambda snapshot: None
) -> None:
    """Plays the scenario in the world, whose history then ends with the lab's word on its own side."""
    Conductor(scenario, world, on_progress).run()


class Conductor:
    def __init__(self, scenario: Scenario, world: World, on_progress: Callable[[Snapshot], None]) -> None:
        self.scenario, self.world, self.on_progress = scenario, world, on_progress
        self.dice = random.Random(scenario.seed)
        self.tally = Tally()
        self.members = {member.name: member for member in cast(scenario)}
        self.moments: list[tuple[int, int, Callable[[], None]]] = []  # a heap: when, a tie-breaker, what
        self.numbers = itertools.count(1)
        self.cues: dict[tuple[str, int], list[Fault]] = {}  # (event, nth) -> the faults that it calls for
        self.seen: Counter[str] = Counter()  # events at gates
        self.requests: list[Request] = []
        self.strikes: list[Strike] = []  # begun and not ended
        self.latest_strike = ""
        self.broker_lost = ""  # how, if not by a fault
        self.mishaps: list[str] = []  # what went wrong on the lab's own side
        self.closing = False

    def run(self) -> None:
        for name in self.members:
            self.start(name)
        self.start_ns = self.world.now_ns()
        self.calm_ns = self.start_ns  # since when nothing was inflicted on the broker: no fault, no new job
        for fault in self.scenario.faults:
            if isinstance(fault.trigger, When):
                self.cues.setdefault(fault.trigger, []).append(fault)
            else:
                for at_s in fault.trigger.at_s:
                    self.at(self.start_ns + to_ns(at_s), partial(self.request, fault))
        self.play(until=self.is_over)
        self.close()

    def play(self, until: Callable[[], bool]) -> None:
        """Acts on events and moments as they come. `until` is asked at least ten times a second."""
        while not until():
            self.on_progress(self.snapshot())
            pause_ends_ns = self.world.now_ns() + PROGRESS_INTERVAL_NS
            while (now_ns := self.world.now_ns()) < pause_ends_ns and not until():
                while self.moments and self.moments[0][0] <= now_ns:
                    heapq.heappop(self.moments)[2]()
                next_ns = min(pause_ends_ns, self.moments[0][0]) if self.moments else pause_ends_ns
                event = self.world.next_event(next_ns)
                if event is not None:
                    self.handle(event)
                self.requests = [request for request in self.requests if not self.grant(request, False)]

    def at(self, time_ns: int, action: Callable[[], None]) -> None:
        heapq.heappush(self.moments, (time_ns, next(self.numbers), action))

    # -- Processes

    def start(self, name: str) -> None:
        member = self.members[name]
        member.incarnation += 1
        member.alive, member.job, member.empty_from_ns = True, None, None
        member.asked_ns = self.world.now_ns()
        config = {**member.config, "incarnation": member.incarnation, "jobs": list(member.left)}
        try:
            self.world.spawn(name, config)
        except NotReady as error:
            if member.incarnation == 1:
                raise
            self.broker_lost = f"the broker did not come back: {error}"
        else:
            if name == "broker":
                self.world.record("lab", "broker_ready", {"incarnation": member.incarnation})

    def signal(self, name: str, what: Signal) -> bool:
        return self.world.signal(name, what)

    # -- Events

    def handle(self, event: Event) -> None:
        member = self.members[event.process]
        if isinstance(event, Op):
            member.observe(event)
            self.tally.add(event)
            if event.f == "submit" and event.type == "ok":
                self.calm_ns = event.time_ns
        elif isinstance(event, Gate):
            self.pass_gate(member, event)
        else:
            self.bury(member, event)

    def pass_gate(self, member: Member, gate: Gate) -> None:
        """The client waits here until we say go: what strikes now, strikes at exactly this moment."""
        self.seen[gate.event] += 1
        for fault in self.cues.pop((gate.event, self.seen[gate.event]), ()):
            self.request(fault, member)
        self.world.go(member.name)

    def bury(self, member: Member, exit: Exit) -> None:
        strike = member.strike
        struck = strike is not None and FAULTS[strike.fault.verb].ends_process
        finished = exit.status == 0 and (self.closing or (member.role == "producer" and not member.left))
        planned = struck or finished
        self.world.record(
            "lab", "exit", {"victim": member.name, "status": exit.status, "planned": planned}
        )
        member.alive, member.job = False, None
        if strike is not None and struck:
            self.confirm(strike)
        elif not planned and member.name == "broker":
            self.broker_lost = self.broker_lost or f"the broker ended by itself, status {exit.status}"
        elif not planned:
            self.mishaps.append(f"{member.name} ended by itself, status {exit.status}")

    # -- Faults

    def request(self, fault: Fault, that: Member | None = None) -> None:
        request = Request(fault, that)
        if not self.grant(request, exact=that is not None):
            self.requests.append(request)

    def grant(self, request: Request, exact: bool) -> bool:
        """Whether the request is settled: its victims are struck, or there is nobody left to strike."""
        fault = request.fault
        pool, count = self.possible_victims(request)
        free = [member for member in pool if member.alive and member.strike is None]
        if len(free) >= count > 0:
            for victim in self.dice.sample(free, count):
                self.strike(Strike(next(self.numbers), fault, victim, exact))
            return True
        if not pool or fault.victim.which == "that":
            self.log(fault, next(self.numbers), fault.victim.text, "missed", exact)
            return True
        return False

    def possible_victims(self, request: Request) -> tuple[list[Member], int]:
        """Those who are here or will come back, and how many of them to strike."""
        victim, that = request.fault.victim, request.that
        peers = [member for member in self.members.values() if member.role == victim.role]
        if victim.which == "that":
            peers = [member for member in peers if member is that]
        elif isinstance(victim.which, int):
            peers = [member for member in peers if member.name == victim.text]
        pool = [member for member in peers if member.alive or member.strike is not None]
        many = {"half": max(1, len(peers) // 2), "all": len(peers)}
        return pool, min(len(pool), many.get(str(victim.which), 1))

    def strike(self, strike: Strike) -> None:
        """Names the victim in the history, then strikes: what happens next may be the fault's doing."""
        strike.victim.strike = strike
        self.strikes.append(strike)
        self.latest_strike = f"{strike.fault.verb} {strike.victim.name}"
        self.log_phase(strike, "begin")
        fault = FAULTS[strike.fault.verb]
        if not fault.strike(self, strike.victim.name):
            self.log_phase(strike, "missed")
            self.forget(strike)
        elif not fault.ends_process:
            self.confirm(strike)

    def confirm(self, strike: Strike) -> None:
        """It was seen to have taken effect."""
        self.log_phase(strike, "struck")
        if strike.fault.lasts_s is None or self.closing:
            strike.victim.retired = not strike.victim.alive
            self.forget(strike)
        else:
            self.at(self.world.now_ns() + to_ns(strike.fault.lasts_s), partial(self.heal, strike))

    def heal(self, strike: Strike) -> None:
        FAULTS[strike.fault.verb].heal(self, strike.victim.name)
        self.log_phase(strike, "end")
        self.forget(strike)

    def forget(self, strike: Strike) -> None:
        strike.victim.strike = None
        self.strikes.remove(strike)

    def log_phase(self, strike: Strike, phase: str) -> None:
        self.log(strike.fault, strike.number, strike.victim.name, phase, strike.exact)

    def log(self, fault: Fault, number: int, victim: str, phase: str, exact: bool) -> None:
        value = {"fault": number, "victim": victim, "phase": phase, "exact": exact}
        self.calm_ns = self.world.record("nemesis", fault.verb, value).time_ns

    # -- The end

    def is_over(self) -> bool:
        """A broker whose counts are at rest is believed; from a black box we wait for what it still owes."""
        if not self.obstacle() and (self.tally.audited or not self.tally.unsettled):
            return True
        patience_ns = to_ns(self.scenario.finish_within_s) + self.world.lateness_ns
        return not self.moments and self.world.now_ns() > self.calm_ns + patience_ns

    def obstacle(self) -> str:
        """Why the run has not drained yet; empty if it has."""
        if self.broker_lost or self.members["broker"].retired:
            return self.broker_lost or "the broker is gone for good"
        if self.moments or self.requests or self.strikes:
            return "a fault has not ended"
        for member in self.members.values():
            if member.role == "producer" and not member.retired and (member.alive or member.left):
                return f"{member.name} has not submitted all its jobs"
        if self.tally.audited and self.tally.rests < 2:
            return f"the broker's counts are not at rest: {self.tally.left_to_do()}"
        lease_ns = to_ns(self.scenario.broker.ack_timeout_s) + self.world.lateness_ns
        lease_ns += 0 if self.tally.audited else BLACK_BOX_SLACK_NS
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
        for worker in self.workers():
            if worker.alive and worker.strike is None and now_ns - worker.asked_ns > patience_ns:
                self.mishaps.append(f"{worker.name} has stopped asking")
        if self.world.lateness_ns >= to_ns(ack_timeout_s / 4):
            self.mishaps.append("this machine is too busy: a thread woke too late")
        self.dismiss(now_ns + 2 * patience_ns)
        self.world.record("lab", "end", {
            "drained": not obstacle,
            "why": "; ".join(filter(None, [obstacle, *self.mishaps])),
            "healthy": not self.mishaps,
            "epsilon_ns": self.world.lateness_ns,
        })  # fmt: skip
        self.on_progress(self.snapshot())

    def dismiss(self, deadline_ns: int) -> None:
        """Ends the faults, and asks the clients to finish what they have in hand."""
        self.closing = True
        self.moments.clear()
        never = [*itertools.chain(*self.cues.values()), *(request.fault for request in self.requests)]
        self.requests.clear()
        for fault in never:
            self.log(fault, next(self.numbers), fault.victim.text, "missed", False)
        for strike in [strike for strike in self.strikes if not FAULTS[strike.fault.verb].ends_process]:
            self.heal(strike)
        clients = [member for member in self.members.values() if member.role != "broker" and member.alive]
        for client in clients:
            self.world.stop(client.name)
        self.play(
            until=lambda: not any(client.alive for client in clients) or self.world.now_ns() > deadline_ns
        )
        self.mishaps += [f"{client.name} did not stop when asked" for client in clients if client.alive]

    def snapshot(self) -> Snapshot:
        seconds = (self.world.now_ns() - self.start_ns) / SECOND_NS
        processes = {member.name: (member.state, member.job) for member in self.members.values()}
        return Snapshot(seconds, processes, self.tally.progress(), self.latest_strike)


def to_ns(seconds: float) -> int:
    return round(seconds * SECOND_NS)
