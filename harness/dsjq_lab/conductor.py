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
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from dsjq_lab.cast import Member, Strike, cast
from dsjq_lab.faults import FAULTS
from dsjq_lab.history import Op
from dsjq_lab.ledger import Ledger
from dsjq_lab.scenario import THAT_JOB, After, Deed, Scenario, Timed, When
from dsjq_lab.tally import Tally
from dsjq_lab.workload import timeout_s
from dsjq_lab.world import Effect, Event, Exit, Gate, Ready, Signal, World

SECOND_NS = 1_000_000_000
PROGRESS_INTERVAL_NS = SECOND_NS // 10
REST_NS = 2 * SECOND_NS  # how long a broker may take to let go of what its clients have used
TOO_BUSY = "this machine is too busy: a thread woke too late"
PAUSES_S = 0.5  # a client that is well pauses less than this between two questions, work and time-outs apart


class Snapshot(NamedTuple):
    """What a display shows of a running experiment."""

    seconds: float
    processes: dict[str, tuple[str, str | None]]  # name -> its state (cast.py), nonce of the job at hand
    counts: dict[str, int]
    latest_strike: str


class Request(NamedTuple):
    """A fault whose moment has come. It waits while too many of its possible victims are struck already."""

    fault: Deed
    that: Member | None = None  # whose event called for it
    job: str = ""  # what that event was about


def conduct(
    scenario: Scenario, world: World, on_progress: Callable[[Snapshot], None] = lambda snapshot: None
) -> None:
    """Plays the scenario in the world, whose history then ends with the lab's word on its own side."""
    Conductor(scenario, world, on_progress).run()


class Conductor:
    def __init__(self, scenario: Scenario, world: World, on_progress: Callable[[Snapshot], None]) -> None:
        self.scenario, self.world, self.on_progress = scenario, world, on_progress
        self.dice = random.Random(scenario.seed)
        self.tally = Tally(audited=not world.core)
        self.ledger = Ledger(scenario.workers.effect)
        self.members = {member.name: member for member in cast(scenario, audited=not world.core)}
        self.broker = self.members["broker"]
        self.start_ns = world.now_ns()
        self.calm_ns = 0  # since when nothing is inflicted on the broker, nor planned: no fault, no new job
        self.moments: list[tuple[int, int, Callable[[], None]]] = []  # a heap: when, a tie-breaker, what
        self.numbers = itertools.count(1)
        self.to_come = 0  # moments of strikes
        self.cues: dict[When, list[Deed]] = {}  # the faults that an event calls for
        self.followers: dict[str, list[Deed]] = {}  # the faults that come after another, by its id
        self.open: Counter[str | None] = Counter()  # by id: requests not granted, and strikes not ended
        self.seen: Counter[str] = Counter()  # events
        self.delivered: set[str] = set()  # jobs
        self.requests: list[Request] = []
        self.strikes: list[Strike] = []  # begun and not ended
        self.latest_strike = ""
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
            self.plan(fault)
        self.happened("broker_ready", self.broker)
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
                self.requests = [request for request in self.requests if not self.grant(request)]

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        self.at(self.world.now_ns() + to_ns(seconds), action)

    def at(self, time_ns: int, action: Callable[[], None]) -> None:
        heapq.heappush(self.moments, (time_ns, next(self.numbers), action))

    # -- Processes

    def start(self, name: str) -> None:
        member = self.members[name]
        member.incarnation += 1
        member.alive, member.job, member.empty_from_ns = True, None, None
        member.asked_ns = self.world.now_ns()
        self.world.spawn(
            name, {**member.config, "incarnation": member.incarnation, "jobs": list(member.left)}
        )
        if name != "broker":  # whose Ready is still to come
            self.is_up(member)

    def is_up(self, member: Member) -> None:
        if member.strike is not None and member.strike.phase == "healing":
            self.finish(member.strike)

    def signal(self, name: str, what: Signal) -> bool:
        return self.world.signal(name, what)

    def tell(self, name: str, word: str) -> None:
        self.world.tell(name, word)

    def note(self, f: str, value: Mapping[str, Any]) -> None:
        self.world.record("lab", f, value)

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
            case Ready():
                self.broker_ready(event)
            case Exit():
                self.bury(member, event)

    def pass_gate(self, member: Member, gate: Gate) -> None:
        """The client waits here until we say go: what strikes now, strikes at exactly this moment."""
        if gate.event in ("stuck", "kicked"):
            self.hear_report(member, gate)
            return
        self.happened(gate.event, member, gate.job)
        if gate.event == "delivered":
            if gate.job in self.delivered:
                self.happened("redelivered", member, gate.job)
            self.delivered.add(gate.job)
        self.tell(member.name, "go")

    def hear_report(self, member: Member, report: Gate) -> None:
        """The victim itself says that it was struck."""
        strike = member.strike
        if strike is None or strike.phase != "begun":
            self.tell(member.name, "go")  # healed meanwhile
        elif report.event == "kicked" and not report.job:
            self.miss(strike)
        else:
            self.confirm(strike)

    def happened(self, event: str, member: Member, job: str = "") -> None:
        """First what this event ends, then what it begins."""
        self.seen[event] += 1
        for strike in tuple(self.strikes):
            end = strike.fault.end
            if isinstance(end, When) and end.event == event and (
                job == strike.job if end.nth == THAT_JOB else self.has_seen(end)
            ):  # fmt: skip
                strike.due = True
                if strike.phase == "struck":
                    self.heal(strike)
        for fault in self.cues.pop(When(event, self.seen[event]), ()):
            if fault.victim.which == "that" and not member.free:  # these may be its last words
                self.cues.setdefault(When(event, self.seen[event] + 1), []).append(fault)
            else:
                self.request(Request(fault, member, job))

    def has_seen(self, when: When) -> bool:
        return isinstance(when.nth, int) and self.seen[when.event] >= when.nth

    def write(self, effect: Effect) -> None:
        """To the ledger: the worker waits for the answer."""
        error = self.ledger.write(effect.value)
        value = {**effect.value, "kind": self.ledger.kind}
        self.world.record("ledger", "effect", value, "fail" if error else "ok", error or None)
        self.tell(effect.process, "turned away" if error else "kept")

    def broker_ready(self, ready: Ready) -> None:
        if ready.problem is not None:
            if self.broker.incarnation == 1:
                raise ready.problem
            self.broker_lost = f"the broker did not come back: {ready.problem}"
            return
        self.broker_is_up = True
        self.note("broker_ready", {"incarnation": self.broker.incarnation})
        self.resting = self.measure("ready")
        self.is_up(self.broker)
        if self.broker.incarnation > 1:
            self.happened("broker_ready", self.broker)

    def bury(self, member: Member, exit: Exit) -> None:
        strike = member.strike
        struck = strike is not None and strike.phase == "begun" and shown_by(strike) == "exit"
        finished = exit.status == 0 and (self.closing or (member.role == "producer" and not member.left))
        planned = struck or finished
        self.note("exit", {"victim": member.name, "status": exit.status, "planned": planned})
        member.alive, member.job = False, None
        if strike is not None and struck:
            self.confirm(strike)
        elif not planned and member is self.broker:
            self.broker_lost = self.broker_lost or f"the broker ended by itself, status {exit.status}"
        elif not planned:
            self.mishaps.append(f"{member.name} ended by itself, status {exit.status}")

    # -- Faults

    def plan(self, fault: Deed) -> None:
        self.open[fault.id] += 1
        match fault.trigger:
            case When() as cue:
                self.cues.setdefault(cue, []).append(fault)
            case After(id):
                self.followers.setdefault(id, []).append(fault)
            case Timed(at_s):
                self.open[fault.id] += len(at_s) - 1
                self.to_come += len(at_s)
                for moment_s in at_s:
                    self.at(self.start_ns + to_ns(moment_s), partial(self.request_on_time, fault))
                self.calm_ns = max(self.calm_ns, self.start_ns + to_ns(at_s[-1]))

    def request_on_time(self, fault: Deed) -> None:
        self.to_come -= 1
        self.request(Request(fault))

    def request(self, request: Request) -> None:
        exact = request.that is not None and request.that is not self.broker
        if not self.grant(request, exact):
            self.requests.append(request)

    def grant(self, request: Request, exact: bool = False) -> bool:
        """Whether the request is settled: its victims are struck, or there is nobody left to strike."""
        fault = request.fault
        pool, count = self.possible_victims(request)
        free = [member for member in pool if member.free]
        if len(free) >= count > 0:
            self.open[fault.id] += count
            for victim in self.dice.sample(free, count):
                self.strike(Strike(next(self.numbers), fault, victim, exact, request.job))
        elif pool:
            return False
        elif fault.victim.role != "auditor":  # without counts there are no dead jobs to be kicked
            self.log(fault, next(self.numbers), fault.victim.text, "missed", exact)
        self.conclude(fault)
        return True

    def conclude(self, fault: Deed) -> None:
        """One request or strike less. When none is left, it is the turn of those that come after."""
        self.open[fault.id] -= 1
        if fault.id is not None and not self.open[fault.id]:
            for follower in self.followers.pop(fault.id, ()):
                self.request(Request(follower))

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
        if not FAULTS[strike.fault.verb].strike(self, strike):
            self.miss(strike)
        elif shown_by(strike) == "effect":
            self.confirm(strike)

    def miss(self, strike: Strike) -> None:
        self.log_phase(strike, "missed")
        self.forget(strike)

    def confirm(self, strike: Strike) -> None:
        """It was seen to have taken effect."""
        self.log_phase(strike, "struck")
        strike.phase = "struck"
        end = strike.fault.end
        if end is None or self.closing:
            strike.victim.retired = not strike.victim.alive
            self.forget(strike)
        elif isinstance(end, float):
            self.later(end, partial(self.heal, strike))
            self.calm_ns = max(self.calm_ns, self.world.now_ns() + to_ns(end))
        elif strike.due or self.has_seen(end):
            self.heal(strike)

    def heal(self, strike: Strike) -> None:
        """Of a process that was ended, this is only the beginning: it `is_up` later."""
        if strike.phase == "struck":
            strike.phase = "healing"
            FAULTS[strike.fault.verb].heal(self, strike)
            if shown_by(strike) != "exit":
                self.finish(strike)

    def finish(self, strike: Strike) -> None:
        self.log_phase(strike, "end")
        self.forget(strike)

    def forget(self, strike: Strike) -> None:
        strike.phase = "over"
        strike.victim.strike = None
        self.strikes.remove(strike)
        self.conclude(strike.fault)

    def log_phase(self, strike: Strike, phase: str) -> None:
        self.log(strike.fault, strike.number, strike.victim.name, phase, strike.exact)

    def log(self, fault: Deed, number: int, victim: str, phase: str, exact: bool) -> None:
        if fault.victim.role == "auditor" and phase != "missed":
            return  # no fault, and what the auditor did is in its own operations
        value = {"fault": number, "victim": victim, "phase": phase, "exact": exact}
        self.calm_ns = max(self.calm_ns, self.world.record("nemesis", fault.verb, value).time_ns)

    # -- The end

    def is_over(self) -> bool:
        """As soon as it is decided; or when we have waited long enough for what does not come."""
        if self.broker_gone() or not self.obstacle():
            return True
        patience_ns = to_ns(self.scenario.finish_within_s) + self.world.lateness_ns
        return self.world.now_ns() > self.calm_ns + patience_ns

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
        if self.to_come or self.requests or self.strikes:
            return "a fault has not ended"
        for member in self.members.values():
            if member.role == "producer" and not member.retired and (member.alive or member.left):
                return f"{member.name} has not submitted all its jobs"
        if self.tally.audited and self.tally.rests < 2:
            return f"the broker's counts are not at rest: {self.tally.left_to_do()}"
        lease_ns = to_ns(self.scenario.broker.ack_timeout_s) + self.world.lateness_ns
        if not self.tally.audited and self.tally.unsettled:
            lease_ns += to_ns(2 * self.scenario.tolerance_s)
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
            self.mishaps.append(TOO_BUSY)
        self.dismiss(now_ns + 2 * patience_ns)
        self.let_rest()
        self.world.collect()
        self.note("end", {
            "drained": not obstacle,
            "why": "; ".join(filter(None, [obstacle, *self.mishaps])),
            "healthy": not self.mishaps,
            "decided": bool(self.broker_lost),
            "epsilon_ns": self.world.lateness_ns,
        })  # fmt: skip
        self.on_progress(self.snapshot())

    def dismiss(self, deadline_ns: int) -> None:
        """Ends the faults, and asks the clients to finish what they have in hand."""
        self.closing = True
        self.moments.clear()
        never = [*itertools.chain(*self.cues.values(), *self.followers.values())]
        never += [request.fault for request in self.requests]
        self.cues.clear()
        self.followers.clear()
        self.requests.clear()
        for fault in never:
            self.log(fault, next(self.numbers), fault.victim.text, "missed", False)
        for strike in [strike for strike in self.strikes if shown_by(strike) != "exit"]:
            if strike.phase == "struck":
                self.heal(strike)
            else:
                self.miss(strike)
        clients = [member for member in self.members.values() if member is not self.broker and member.alive]
        for client in clients:
            self.tell(client.name, "stop")
        self.play(
            until=lambda: not any(client.alive for client in clients) or self.world.now_ns() > deadline_ns
        )
        self.mishaps += [f"{client.name} did not stop when asked" for client in clients if client.alive]

    def let_rest(self) -> None:
        """Measures what the broker uses when everybody has gone, as soon as it uses no more than before."""
        deadline_ns = self.world.now_ns() + REST_NS

        def at_rest() -> bool:
            now = self.world.resources("broker")
            return all(now.get(what, 0) <= self.resting.get(what, 0) for what in ("threads", "descriptors"))

        self.play(until=lambda: at_rest() or self.world.now_ns() > deadline_ns)
        self.measure("end")

    def measure(self, moment: str) -> dict[str, int]:
        resources = self.world.resources("broker")
        if resources:
            about = {"victim": "broker", "moment": moment, "incarnation": self.broker.incarnation}
            self.note("resources", {**about, **resources})
        return resources

    def snapshot(self) -> Snapshot:
        seconds = (self.world.now_ns() - self.start_ns) / SECOND_NS
        processes = {member.name: (member.state, member.job) for member in self.members.values()}
        return Snapshot(seconds, processes, self.tally.progress(), self.latest_strike)


def shown_by(strike: Strike) -> str:
    return FAULTS[strike.fault.verb].shown_by


def to_ns(seconds: float) -> int:
    return round(seconds * SECOND_NS)
