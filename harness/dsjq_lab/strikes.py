"""From the faults of a scenario to strikes on processes: who is struck, when, and when that is over.

When the moment of a fault comes it is a *request*. A request waits until enough of its possible victims are
free, since faults on one victim are serialised; then it becomes one *strike* for each. A strike is begun (its
victim is named in the history before anything is done to it), struck (it was seen to have taken effect),
healing (a process is on its way back), and over. What did not take effect is missed, and the history says so.
"""

import itertools
import random
from collections import Counter
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from dsjq_lab.cast import Member, Strike
from dsjq_lab.faults import FAULTS, Lab
from dsjq_lab.scenario import EVENTS, THAT_JOB, After, Deed, Timed, When

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Request(NamedTuple):
    fault: Deed
    that: Member | None = None  # whose event called for it
    job: str = ""  # what that event was about
    exact: bool = False  # the client waits at a gate meanwhile


class Strikes:
    def __init__(self, lab: Lab, members: list[Member], seed: int) -> None:
        self.lab, self.members, self.dice = lab, members, random.Random(seed)
        self.numbers = itertools.count(1)
        self.to_come = 0  # moments on the clock
        self.cues: dict[When, list[Deed]] = {}  # the faults that an event calls for
        self.followers: dict[str, list[Deed]] = {}  # the faults that come after another, by its id
        self.unfinished: Counter[str | None] = Counter()  # by id: requests not granted, strikes not over
        self.seen: Counter[str] = Counter()  # events
        self.waiting: list[Request] = []
        self.running: list[Strike] = []  # begun and not over
        self.lasting: list[Strike] = []  # on the network, for good: that is, until all have finished
        self.calm_ns = 0  # since when nothing is inflicted, nor planned by the clock
        self.latest = ""
        self.closing = False

    # -- When

    def plan(self, fault: Deed) -> None:
        self.unfinished[fault.id] += 1
        match fault.trigger:
            case When() as cue:
                self.cues.setdefault(cue, []).append(fault)
            case After(id):
                self.followers.setdefault(id, []).append(fault)
            case Timed(at_s):
                self.unfinished[fault.id] += len(at_s) - 1
                self.to_come += len(at_s)
                for moment_s in at_s:
                    self.not_calm_before(self.lab.later(moment_s, partial(self.on_time, fault)))

    def on_time(self, fault: Deed) -> None:
        self.to_come -= 1
        self.request(Request(fault))

    def happened(self, event: str, member: Member, job: str = "") -> None:
        """First what this event ends, then what it begins."""
        self.seen[event] += 1
        for strike in tuple(self.running):
            if self.ends(event, job, strike):
                strike.due = True
                self.heal(strike)
        for fault in self.cues.pop(When(event, self.seen[event]), ()):
            if fault.victim.which == "that" and not member.free:  # these may be its last words
                self.cues.setdefault(When(event, self.seen[event] + 1), []).append(fault)
            else:
                self.request(Request(fault, member, job, exact=EVENTS[event][0] != "broker"))

    def ends(self, event: str, job: str, strike: Strike) -> bool:
        end = strike.fault.end
        if not isinstance(end, When) or end.event != event:
            return False
        return job == strike.job if end.nth == THAT_JOB else self.has_seen(end)

    def has_seen(self, when: When) -> bool:
        return isinstance(when.nth, int) and self.seen[when.event] >= when.nth

    # -- Whom

    def request(self, request: Request) -> None:
        if not self.grant(request):
            self.waiting.append(request._replace(exact=False))

    def grant_waiting(self) -> None:
        self.waiting = [request for request in self.waiting if not self.grant(request)]

    def grant(self, request: Request) -> bool:
        """Whether the request is settled: its victims are struck, or there is nobody left to strike."""
        fault = request.fault
        pool, count = self.possible_victims(request)
        free = [member for member in pool if member.free]
        if len(free) >= count > 0:
            self.unfinished[fault.id] += count
            for victim in self.dice.sample(free, count):
                self.begin(Strike(next(self.numbers), fault, victim, request.exact, request.job))
        elif pool:
            return False
        elif fault.victim.role != "auditor":  # without counts there are no dead jobs to be kicked
            self.log(fault, next(self.numbers), fault.victim.text, "missed", request.exact)
        self.conclude(fault)
        return True

    def possible_victims(self, request: Request) -> tuple[list[Member], int]:
        """Those who are here or will come back, and how many of them to strike."""
        victim = request.fault.victim
        peers = [member for member in self.members if member.role == victim.role]
        if victim.which == "that":
            peers = [member for member in peers if member is request.that]
        elif isinstance(victim.which, int):
            peers = [member for member in peers if member.name == victim.text]
        pool = [member for member in peers if member.alive or member.strike is not None]
        many = {"half": max(1, len(peers) // 2), "all": len(peers)}
        return pool, min(len(pool), many.get(str(victim.which), 1))

    def conclude(self, fault: Deed) -> None:
        """One request or strike less. When none is left, it is the turn of those that come after."""
        self.unfinished[fault.id] -= 1
        if fault.id is not None and not self.unfinished[fault.id]:
            for follower in self.followers.pop(fault.id, ()):
                self.request(Request(follower))

    # -- From begun to over

    def begin(self, strike: Strike) -> None:
        """Names the victim in the history, then strikes: what happens next may be the fault's doing."""
        if why := FAULTS[strike.fault.verb].why_not(self.lab, strike):
            self.log_phase(strike, "missed", {"why": why})
            self.conclude(strike.fault)
            return
        strike.victim.strike = strike
        self.running.append(strike)
        self.latest = f"{strike.fault.verb} {strike.victim.name}"
        self.log_phase(strike, "begin")
        if not FAULTS[strike.fault.verb].strike(self.lab, strike):
            self.miss(strike)
        elif shown_by(strike) == "effect":
            self.confirm(strike)

    def hear_report(self, victim: Member, bitten: bool) -> None:
        """The victim itself says whether it was struck."""
        strike = victim.strike
        if strike is None or strike.phase != "begun":
            self.lab.world.tell(victim.name, "go")  # healed meanwhile
        elif bitten:
            self.confirm(strike)
        else:
            self.miss(strike)

    def hear_proof(self, victim: Member, proof: Mapping[str, Any]) -> None:
        """What was done to its disk, or on its way, has taken effect."""
        if victim.strike is not None and victim.strike.phase == "begun":
            self.confirm(victim.strike, proof)

    def explains_exit(self, victim: Member) -> bool:
        """Whether a strike is to end this process, and has not done so yet."""
        strike = victim.strike
        return strike is not None and strike.phase == "begun" and shown_by(strike) == "exit"

    def excuse_exit(self, victim: Member) -> bool:
        """Whether a fault is why it ended by itself; then it is started again, also if the fault was over."""
        strike = victim.excuse
        if strike is None or self.closing:
            return False
        if strike.phase == "over" and victim.strike is None:
            victim.strike, strike.phase = strike, "struck"
            self.running.append(strike)
            self.unfinished[strike.fault.id] += 1
            self.begin_end(strike)
        return victim.strike is strike

    def confirm(self, strike: Strike, more: Mapping[str, Any] = NOTHING) -> None:
        """It was seen to have taken effect."""
        self.log_phase(strike, "struck", more)
        strike.phase = "struck"
        if FAULTS[strike.fault.verb].may_end_it:
            strike.victim.excuse = strike
        self.begin_end(strike)

    def begin_end(self, strike: Strike) -> None:
        end = strike.fault.end
        if end is None or self.closing:
            strike.victim.retired = not strike.victim.alive
            if strike.fault.of_the_network and not strike.fault.is_momentary:
                self.lasting.append(strike)
            (self.finish if strike.fault.is_momentary else self.forget)(strike)
        elif isinstance(end, float):
            self.not_calm_before(self.lab.later(end, partial(self.heal, strike)))
        elif strike.due or self.has_seen(end):
            self.heal(strike)

    def miss(self, strike: Strike) -> None:
        self.log_phase(strike, "missed")
        self.forget(strike)

    def heal(self, strike: Strike) -> None:
        """Of a process that was ended, this is only the beginning: it `is_up` later."""
        if strike.phase == "struck":
            strike.phase = "healing"
            if FAULTS[strike.fault.verb].heal(self.lab, strike):
                self.finish(strike)

    def is_up(self, victim: Member) -> None:
        if victim.strike is not None and victim.strike.phase == "healing":
            self.finish(victim.strike)

    def finish(self, strike: Strike) -> None:
        self.log_phase(strike, "end")
        self.forget(strike)

    def forget(self, strike: Strike) -> None:
        strike.phase = "over"
        strike.victim.strike = None
        self.running.remove(strike)
        self.conclude(strike.fault)

    # -- The end

    def are_over(self) -> bool:
        """Those that only an event would call for are not waited for."""
        return not (self.to_come or self.waiting or self.running)

    def dismiss(self) -> None:
        """Whose moment has not come has missed it; whoever is struck and lives is healed."""
        self.closing = True
        never = [*itertools.chain(*self.cues.values(), *self.followers.values())]
        never += [request.fault for request in self.waiting]
        self.cues.clear()
        self.followers.clear()
        self.waiting.clear()
        for fault in never:
            self.log(fault, next(self.numbers), fault.victim.text, "missed", False)
        living = [strike for strike in self.running if strike.victim.alive]
        for strike in [strike for strike in living if shown_by(strike) != "exit"]:
            if strike.phase == "struck":
                self.heal(strike)
            else:
                self.miss(strike)

    def let_go(self) -> None:
        """When all have finished, what was for good is over, so that it is seen what stays behind."""
        for strike in self.lasting:
            FAULTS[strike.fault.verb].heal(self.lab, strike)

    # -- In the history

    def log_phase(self, strike: Strike, phase: str, more: Mapping[str, Any] = NOTHING) -> None:
        self.log(strike.fault, strike.number, strike.victim.name, phase, strike.exact, more)

    def log(
        self, fault: Deed, number: int, victim: str, phase: str, exact: bool,
        more: Mapping[str, Any] = NOTHING,
    ) -> None:  # fmt: skip
        if fault.victim.role == "auditor" and phase != "missed":
            return  # no fault, and what the auditor did is in its own operations
        value = {"fault": number, "victim": victim, "phase": phase, "exact": exact, **more}
        self.not_calm_before(self.lab.note("nemesis", fault.verb, value))

    def not_calm_before(self, time_ns: int) -> None:
        self.calm_ns = max(self.calm_ns, time_ns)


def shown_by(strike: Strike) -> str:
    return FAULTS[strike.fault.verb].shown_by
