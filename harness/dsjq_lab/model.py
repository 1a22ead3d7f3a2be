"""What a history says of each job: who got it, when it was certainly held, and what may have become of it.

An observer outside the broker never learns when something happened there, only an interval: after the
invocation, before the return. So the model keeps what is *certain* apart from what is *possible*, and
whenever a moment is in doubt it chooses the one that accuses less: a hold begins as late and ends as early
as it can have done. One pass over the operations in the order of time builds it all.
"""

import math
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from dsjq_lab.history import Header, History, Op

MORTAL = frozenset({"kill", "term", "restart"})  # the faults that end a process; a pause does not


# Why a job was delivered. The last two have no excuse.
CAUSES = ("first", "after_fail", "after_crash", "after_lapse", "after_ack", "while_held")


def nonce_of(payload: str) -> str:
    """The name of a job is the first word of its payload: a SUBMIT whose reply was lost has no id."""
    return payload.split(" ", 1)[0]


class Call(NamedTuple):
    """An operation of a client, its invocation and its completion seen as one interval."""

    f: str
    process: str
    conn: str
    invoked_ns: int
    returned_ns: int | None  # None: its client was killed while it waited
    outcome: str  # "ok", "fail": definitely did not happen, "info": may happen any time after its invocation
    ops: tuple[int, ...]


class Delivery:
    """A job handed to a client, and what the client then did with it.

    The hold [returned_ns, held_until_ns) is certain: in it nobody else may hold the job. It can be empty.
    """

    __slots__ = (
        "attempt",
        "call",
        "cut_ns",
        "held_until_ns",
        "id",
        "incarnation",
        "invoked_ns",
        "nonce",
        "payload",
        "returned_ns",
        "settles",
        "token",
    )

    def __init__(self, call: Call, returned_ns: int, value: dict[str, Any]) -> None:
        self.call = call
        self.invoked_ns = call.invoked_ns
        self.returned_ns = returned_ns
        self.id: str = value["id"]
        self.payload: str = value["payload"]
        self.nonce = nonce_of(self.payload)
        self.token: str | None = value.get("token")
        self.attempt: int | None = value.get("attempt")
        self.settles: list[Call] = []  # the holder's own ack, fail and touch
        self.cut_ns = math.inf  # the earliest moment at which its connection, or the broker, may have died
        self.held_until_ns: float = returned_ns
        self.incarnation: int | None = None  # which life of the broker gave it out; None: in doubt

    @property
    def holder(self) -> tuple[str, str | None]:
        return self.call.conn, self.token


class Job:
    """All that was seen of one nonce."""

    __slots__ = ("deliveries", "foreign_acks", "nonce", "payload", "submits")

    def __init__(self, nonce: str, payload: str) -> None:
        self.nonce = nonce
        self.payload = payload
        self.submits: list[Call] = []
        self.deliveries: list[Delivery] = []  # in the order of their return
        self.foreign_acks: list[Call] = []  # ACKs of its id by connections that had not been given it

    @property
    def acknowledged(self) -> bool:
        """The broker took responsibility for it."""
        return any(submit.outcome == "ok" for submit in self.submits)

    def acks(self) -> Iterator[Call]:
        for delivery in self.deliveries:
            for call in delivery.settles:
                if call.f == "ack":
                    yield call
        yield from self.foreign_acks

    def has_ack(self, *outcomes: str) -> bool:
        return any(ack.outcome in outcomes for ack in self.acks())

    def copies(self) -> list[list[Delivery]]:
        """Its deliveries, one list for each job that the broker knows.

        A producer that retries after an unknown outcome may put the same nonce there twice, which is legal:
        those copies are told apart by (incarnation, id), and deliveries in doubt are left out.
        """
        if sum(submit.outcome != "fail" for submit in self.submits) <= 1:
            return [self.deliveries]
        copies: dict[tuple[int, str], list[Delivery]] = {}
        for delivery in self.deliveries:
            if delivery.incarnation is not None:
                copies.setdefault((delivery.incarnation, delivery.id), []).append(delivery)
        return list(copies.values())


class Strike(NamedTuple):
    """One fault: when it was begun, when it was seen to bite (if it did), when it was healed."""

    fault: int
    verb: str
    victim: str
    exact: bool
    begin_ns: int
    struck_ns: int | None
    end_ns: int | None
    holding: str | None  # the nonce of the job that the victim certainly or possibly held at the beginning


class Death(NamedTuple):
    """The broker died at some moment of this interval, or may have."""

    begin_ns: int
    until_ns: float  # when the next incarnation was ready


class End(NamedTuple):
    """The lab's last word: was the run complete, and was the lab's own side in order?"""

    time_ns: int
    drained: bool
    why: str
    healthy: bool
    epsilon_ns: int


class Model:
    """What the checkers judge."""

    def __init__(self, history: History) -> None:
        self.header: Header = history.header
        self.ops: list[Op] = history.ops
        self.jobs: dict[str, Job] = {}
        self.strays: list[Delivery] = []  # of nonces that nobody had submitted
        self.dead: set[str] = set()  # nonces that the broker lists as dead
        self.deaths: list[Death] = []
        self.incarnations = 0
        self.strikes: list[Strike] = []
        self.healed_ns = history.header.start_ns  # the last that was heard of a fault
        self.end: End | None = None  # None: the lab was killed
        _Reading(self).read()

    def unaccounted(self) -> list[Job]:
        """Jobs that the broker took, of which no ACK may have happened, and which are not dead either."""
        return [
            job
            for job in self.jobs.values()
            if job.acknowledged and job.nonce not in self.dead and not job.has_ack("ok", "info")
        ]

    def counts(self) -> dict[str, int]:
        """Jobs by their fate (as Jepsen counts them), and deliveries by their cause."""
        jobs = self.jobs.values()
        done = {job.nonce for job in jobs if job.has_ack("ok")}
        perhaps_done = {job.nonce for job in jobs if job.has_ack("info")} - done - self.dead
        causes = Counter(cause for job in jobs for cause in _causes(job))
        return {
            "attempted": len(jobs),
            "acknowledged": sum(job.acknowledged for job in jobs),
            "recovered": sum(bool(job.deliveries) and not job.acknowledged for job in jobs),
            "duplicated": sum(len(job.deliveries) > 1 for job in jobs),
            "done": len(done),
            "perhaps_done": len(perhaps_done),
            "dead": len(self.dead - done),
            "lost": len(self.unaccounted()) if self.end and self.end.drained else 0,
            "unexpected": len(self.strays),
            "delivered": len(self.strays) + sum(len(job.deliveries) for job in jobs),
            **{cause: causes[cause] for cause in CAUSES},
        }


def _causes(job: Job) -> Iterator[str]:
    """Why each delivery of a job was made, as far as what became of the one before it tells."""
    # Kept by id: a retried SUBMIT may make a second job, with a first delivery of its own.
    before: dict[str, Delivery] = {}
    for delivery in job.deliveries:
        previous = before.get(delivery.id)
        before[delivery.id] = delivery
        if previous is None:
            yield "first"
        elif any(c.f == "fail" and c.outcome != "fail" for c in previous.settles):
            yield "after_fail"
        elif any(c.f == "ack" and c.outcome == "ok" for c in previous.settles):
            yield "after_ack"
        elif previous.cut_ns <= delivery.returned_ns:
            yield "after_crash"
        else:
            yield "after_lapse" if previous.held_until_ns <= delivery.returned_ns else "while_held"


class _Reading:
    """The pass over the operations, with what it has to remember on the way."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.pending: dict[str, Op] = {}  # process -> its invocation that has not returned
        self.seen_ns: dict[str, int] = {}  # process -> when it last gave a sign of life
        self.conns: defaultdict[str, set[str]] = defaultdict(set)  # process -> those not known to be cut
        self.cuts: dict[str, int] = {}  # connection -> the earliest moment at which it may have been cut
        self.answered: dict[str, int] = {}  # connection -> the invocation of the last call that got an answer
        self.last_ok_ns = model.header.start_ns
        self.holding: dict[str, Delivery] = {}  # process -> its last delivery, until settled or cut
        self.given: dict[tuple[str, str, str | None], Delivery] = {}  # (connection, id, token or None)
        self.nonces: dict[str, str] = {}  # id -> the nonce last seen with it
        self.strikes: dict[int, Strike] = {}

    def read(self) -> None:
        special = {"nemesis": self.nemesis, "lab": self.lab, "auditor": self.auditor}
        for op in self.model.ops:
            special.get(op.process, self.client)(op)
        for invoke in self.pending.values():
            self.complete(invoke, None)
        self.model.strikes = list(self.strikes.values())
        self.settle_holds()

    # Clients

    def client(self, op: Op) -> None:
        self.seen_ns[op.process] = op.time_ns
        if op.type == "invoke":
            if unfinished := self.pending.get(op.process):
                self.complete(unfinished, None)  # by a former process of the same name, which was killed
            self.pending[op.process] = op
            self.conns[op.process].add(op.value["conn"])
            if op.f == "submit":
                payload = op.value["payload"]
                nonce = nonce_of(payload)
                if nonce not in self.model.jobs:
                    self.model.jobs[nonce] = Job(nonce, payload)
        elif op.f == "close":
            self.cut(op.process, op.value["conn"], op.time_ns)
        else:
            self.complete(self.pending.pop(op.process), op)

    def complete(self, invoke: Op, end: Op | None) -> None:
        """Pair an invocation with its completion, if it ever came."""
        conn = invoke.value["conn"]
        if end is None:
            call = Call(invoke.f, invoke.process, conn, invoke.time_ns, None, "info", (invoke.index,))
        else:
            ops = (invoke.index, end.index)
            call = Call(invoke.f, invoke.process, conn, invoke.time_ns, end.time_ns, end.type, ops)
            if end.type == "info":
                self.lose_connection(invoke, end)
            else:
                self.answered[conn] = invoke.time_ns
        if end is not None and end.type == "ok":
            self.last_ok_ns = end.time_ns
        if call.f == "submit":
            self.submit(call, invoke, end)
        elif call.f != "reserve":
            self.settle(call, invoke)
        elif end is not None and end.type == "ok" and "id" in end.value:
            self.deliver(call, end)

    def submit(self, call: Call, invoke: Op, end: Op | None) -> None:
        nonce = nonce_of(invoke.value["payload"])
        self.model.jobs[nonce].submits.append(call)
        if end is not None and end.type == "ok":
            self.nonces[end.value["id"]] = nonce

    def deliver(self, call: Call, end: Op) -> None:
        delivery = Delivery(call, end.time_ns, end.value)
        job = self.model.jobs.get(delivery.nonce)
        (job.deliveries if job else self.model.strays).append(delivery)
        self.holding[call.process] = delivery
        self.nonces[delivery.id] = delivery.nonce
        self.given[call.conn, delivery.id, None] = delivery
        if delivery.token is not None:
            self.given[call.conn, delivery.id, delivery.token] = delivery

    def settle(self, call: Call, invoke: Op) -> None:
        job_id = invoke.value["id"]
        delivery = self.given.get((call.conn, job_id, invoke.value.get("token")))
        if delivery is not None:
            delivery.settles.append(call)
            if call.f != "touch" and self.holding.get(call.process) is delivery:
                del self.holding[call.process]
        elif call.f == "ack" and (nonce := self.nonces.get(job_id)) in self.model.jobs:
            self.model.jobs[nonce].foreign_acks.append(call)

    def lose_connection(self, invoke: Op, end: Op) -> None:
        """A client that times out closes the connection itself, later; any other end may have come earlier.

        The last answer was on its way for an unknown time, but was given after that call's invocation.
        """
        conn = invoke.value["conn"]
        cut_ns = end.time_ns if end.error == "timeout" else self.answered.get(conn, invoke.time_ns)
        self.cut(invoke.process, conn, cut_ns)

    def cut(self, process: str, conn: str, time_ns: int) -> None:
        self.cuts[conn] = min(time_ns, self.cuts.get(conn, time_ns))
        self.conns[process].discard(conn)
        self.holding.pop(process, None)

    def cut_all(self, process: str, time_ns: int) -> None:
        for conn in tuple(self.conns[process]):
            self.cut(process, conn, time_ns)

    # Faults, the broker and the lab

    def nemesis(self, op: Op) -> None:
        fault, phase, victim = op.value["fault"], op.value["phase"], op.value["victim"]
        if phase != "missed":  # what never struck needs no healing
            self.model.healed_ns = op.time_ns
        if phase == "begin":
            held = self.holding.get(victim)
            exact = bool(op.value.get("exact"))
            self.strikes[fault] = Strike(
                fault, op.f, victim, exact, op.time_ns, None, None, held.nonce if held else None
            )
            if op.f in MORTAL:
                self.kill(victim, op.time_ns)
        elif phase == "struck":
            self.strikes[fault] = self.strikes[fault]._replace(struck_ns=op.time_ns)
        elif phase == "end":
            self.strikes[fault] = self.strikes[fault]._replace(end_ns=op.time_ns)
        elif victim == "broker" and op.f in MORTAL:
            self.close_deaths(op.time_ns)  # missed: it lives on

    def lab(self, op: Op) -> None:
        if op.f == "broker_ready":
            self.model.incarnations += 1
            self.close_deaths(op.time_ns)
        elif op.f == "exit" and op.value["victim"] != "broker":
            # Unless a kill was logged before, it is only known to have died after its last sign of life.
            victim = op.value["victim"]
            self.cut_all(victim, self.seen_ns.get(victim, op.time_ns))
        elif op.f == "exit" and not op.value["planned"]:
            self.kill("broker", self.last_ok_ns)
        elif op.f == "end":
            v = op.value
            self.model.end = End(op.time_ns, v["drained"], v["why"], v["healthy"], v["epsilon_ns"])

    def auditor(self, op: Op) -> None:
        if op.f == "dead" and op.type == "ok":
            self.model.dead.update(nonce_of(job["payload"]) for job in op.value["dead"])

    def kill(self, victim: str, time_ns: int) -> None:
        if victim == "broker":
            self.model.deaths.append(Death(time_ns, math.inf))
        else:
            self.cut_all(victim, time_ns)

    def close_deaths(self, time_ns: int) -> None:
        deaths = self.model.deaths
        for i in range(len(deaths) - 1, -1, -1):
            if deaths[i].until_ns < math.inf:
                break
            deaths[i] = deaths[i]._replace(until_ns=time_ns)

    # Holds: only now are all the cuts known

    def settle_holds(self) -> None:
        deaths = self.model.deaths
        untils = [death.until_ns for death in deaths]
        for delivery in self.given_out():
            life = bisect_left(untils, delivery.invoked_ns)
            death_ns = deaths[life].begin_ns if life < len(deaths) else math.inf
            if death_ns > delivery.returned_ns:
                delivery.incarnation = life
            delivery.cut_ns = min(death_ns, self.cuts.get(delivery.call.conn, math.inf))
            delivery.held_until_ns = min(delivery.cut_ns, self.lease_end(delivery))

    def given_out(self) -> Iterator[Delivery]:
        for job in self.model.jobs.values():
            yield from job.deliveries
        yield from self.model.strays

    def lease_end(self, delivery: Delivery) -> int:
        """Until when the broker must keep it for this holder, if nothing is cut. Broker and holder may count
        from different moments, so the lease is counted from the invocation: no broker can count from earlier.
        """
        ack_timeout_ns = self.model.header.ack_timeout_ns
        end_ns = delivery.invoked_ns + ack_timeout_ns
        for call in delivery.settles:
            if call.f != "touch":
                return min(end_ns, call.invoked_ns)
            # A TOUCH that returned after the end may have revived a lease that somebody else had between.
            if call.outcome == "ok" and call.returned_ns is not None and call.returned_ns <= end_ns:
                end_ns = call.invoked_ns + ack_timeout_ns
        return end_ns
