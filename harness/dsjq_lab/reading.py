"""One pass over the operations, in the order of time, makes the model; then the intervals are settled.

Most of it is remembering: which invocation a completion belongs to, which connection a process uses, which
delivery an ACK speaks of. What takes care is the end of a connection. It has an earliest moment, at which the
broker may first have seen it (a hold is certain until then), and a latest, by which it is certainly over: the
process has exited, or does something else, which it never does before it has closed what it lost.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from dsjq_lab.history import Op
from dsjq_lab.intervals import Troubles, settle
from dsjq_lab.seen import (
    Call,
    Connection,
    Death,
    Delivery,
    End,
    FailedSync,
    Job,
    Keyed,
    Listing,
    LostRequest,
    Strike,
    nonce_of,
)

if TYPE_CHECKING:
    from dsjq_lab.model import Model

HARMS_DISK = frozenset({"power_loss", "torn_tail", "bit_flip"})
POLITE = frozenset({"term", "restart"})
CUTS_LINKS = frozenset({"partition", "half_open", "reset", "cut", "corrupt"})  # at once, or the broker may
MORTAL = POLITE | {"kill"} | HARMS_DISK  # they end a process; a pause does not
LIMITS = frozenset({"fd_limit", "file_limit"})  # in force from their begin, and seen from outside alone
BROKEN_REPLIES = ("garbage:", "extra:")


def read(model: "Model") -> None:
    _Reading(model).read()


class _Reading:
    """The pass, with what it has to remember on the way."""

    def __init__(self, model: "Model") -> None:
        self.model = model
        self.pending: dict[str, Op] = {}  # process -> its invocation that has not returned
        self.seen_ns: dict[str, int] = {}  # process -> when it last gave a sign of life
        self.conns: dict[str, str] = {}  # process -> the connection that it uses
        self.leaving: dict[str, str] = {}  # process -> a connection that it is about to close
        self.cuts: dict[str, int] = {}  # connection -> the earliest moment at which it may have been cut
        self.overs: dict[str, int] = {}  # connection -> when it was certainly over
        self.resets: dict[int, list[str]] = {}  # fault -> connections that it cannot miss
        self.opened: dict[str, int] = {}  # connection -> when it was first answered
        self.answered: dict[str, int] = {}  # connection -> the invocation of the last call that got an answer
        self.last_ok_ns = model.header.start_ns
        self.holding: dict[str, Delivery] = {}  # process -> its last delivery, until settled or cut
        self.given: dict[tuple[str, str, str | None], Delivery] = {}  # (connection, id, token or None)
        self.names: dict[str, tuple[str, Call]] = {}  # id -> the nonce last seen with it, and in which call
        self.lost: list[Call] = []  # requests of unknown outcome
        self.strikes: dict[int, Strike] = {}
        self.handlers = {
            "connect": self.connect,
            "submit": self.submit,
            "reserve": self.reserve,
            "ack": self.settle,
            "fail": self.settle,
            "release": self.settle,
            "touch": self.settle,
            "stats": self.stats,
            "dead": self.dead,
            "kick": self.kick,
            "intrude": self.intrude,
            **dict.fromkeys(("bind", "publish", "take", "taken"), self.route),
        }

    def read(self) -> None:
        model = self.model
        special: dict[str, Callable[[Op], None]] = {
            "nemesis": self.nemesis,
            "lab": self.lab,
            "ledger": model.effects.append,
            "broker": model.trace.append,
            "network": model.overheard.append,
        }
        for op in model.ops:
            if act := special.get(op.process):
                act(op)
            else:
                self.client(op)
        for invoke in self.pending.values():
            self.complete(invoke, None)
        model.strikes = list(self.strikes.values())
        model.connections = [
            Connection(opened_ns, self.overs.get(conn, math.inf)) for conn, opened_ns in self.opened.items()
        ]
        self.lost.sort(key=lambda call: call.invoked_ns)
        model.broken_replies = [op for op in model.broken_replies if not self.may_be_corrupt(op)]
        troubles = Troubles(model)
        model.lost_requests = [
            LostRequest(call.invoked_ns, troubles.in_peace(over_ns, model.slack_ns, call.process))
            for call in self.lost
            for over_ns in [self.overs.get(call.conn, math.inf)]
        ]
        model.lost_over_ns = sorted(request.over_ns for request in model.lost_requests)
        model.trace.sort(key=lambda op: op.index)  # the order in which the broker wrote it
        settle(model, troubles, self.cuts, self.overs)

    def may_be_corrupt(self, op: Op) -> bool:
        """Whether it may have been the network that spoilt what was read."""
        return any(
            strike.verb == "corrupt"
            and strike.victim in (op.process, "broker")
            and strike.begin_ns <= op.time_ns <= (strike.end_ns or math.inf) + self.model.slack_ns
            for strike in self.model.strikes
        )

    # Clients

    def client(self, op: Op) -> None:
        process, value = op.process, op.value
        if process in self.leaving:
            self.over(self.leaving.pop(process), op.time_ns)
        if op.type == "invoke":
            self.model.last_question = op
            conn = value["conn"]
            if self.conns.get(process) != conn:
                self.exited(process, op.time_ns)  # a former process of the same name
                self.conns[process] = conn
            if process in self.pending:
                self.complete(self.pending[process], None)
            self.pending[process] = op
            if op.f == "submit":
                nonce = nonce_of(value["payload"])
                if nonce not in self.model.jobs:
                    delay_ns = round(value.get("delay_s", 0) * 1e9)
                    self.model.jobs[nonce] = Job(nonce, value["payload"], value.get("priority", 0), delay_ns)
        elif op.f == "close":
            self.leave(process, value["conn"], op.time_ns)
        else:
            self.complete(self.pending.pop(process, op), op)
        self.seen_ns[process] = op.time_ns

    def complete(self, invoke: Op, end: Op | None) -> None:
        """Pair an invocation with its completion, if it ever came."""
        f, conn, invoked_ns = invoke.f, invoke.value["conn"], invoke.time_ns
        if end is None:
            call = Call(f, invoke.process, conn, invoked_ns, math.inf, "info", (invoke.index,))
        else:
            outcome, ops = end.type, (invoke.index, end.index)
            call = Call(f, invoke.process, conn, invoked_ns, end.time_ns, outcome, ops)
            if outcome == "info":
                self.lose_connection(invoke, end)
            else:
                self.answered[conn] = invoked_ns
            if outcome == "ok":
                self.last_ok_ns = end.time_ns
                if end.f != "connect":
                    self.model.answered_ns = end.time_ns
        if f in self.handlers:
            self.handlers[f](call, invoke, end)

    def connect(self, call: Call, invoke: Op, end: Op | None) -> None:
        if end is not None and end.type == "ok":
            self.opened[call.conn] = end.time_ns
            greeting = end.value.get("greeting")
            if greeting is not None and greeting != "OK" and not greeting.startswith("ERROR"):
                self.model.broken_replies.append(end)

    def submit(self, call: Call, invoke: Op, end: Op | None) -> None:
        nonce = nonce_of(invoke.value["payload"])
        job = self.model.jobs[nonce]
        job.submits.append(call)
        if end is not None and end.type == "ok":
            if end.time_ns < job.confirmed_ns:
                job.confirmed_ns = end.time_ns
            self.name(end.value["id"], nonce, call)
        if key := invoke.value.get("key"):
            id, error = (end.value.get("id"), end.error) if end is not None else (None, None)
            keyed = Keyed(call, nonce, invoke.value["payload"], id, error)
            self.model.keyed.setdefault(key, []).append(keyed)

    def reserve(self, call: Call, invoke: Op, end: Op | None) -> None:
        if end is None or end.type == "info":
            self.lost.append(call)
        elif end.type == "ok" and "id" in end.value:
            self.deliver(call, end)
        elif end.type == "ok":
            self.model.empties.append(call)

    def deliver(self, call: Call, end: Op) -> None:
        value = end.value
        nonce = nonce_of(value["payload"])
        delivery = Delivery(call, nonce, end.time_ns, value)
        job = self.model.jobs.get(nonce)
        (job.deliveries if job else self.model.strays).append(delivery)
        self.holding[call.process] = delivery
        self.name(delivery.id, nonce, call)
        self.given[call.conn, delivery.id, None] = delivery
        if delivery.token is not None:
            self.given[call.conn, delivery.id, delivery.token] = delivery
            self.model.has_tokens = True

    def name(self, id: str, nonce: str, call: Call) -> None:
        owner, told = self.names.get(id, (nonce, call))
        if owner != nonce:
            self.model.renamed.append((id, told, call))
        self.names[id] = nonce, call

    def settle(self, call: Call, invoke: Op, end: Op | None) -> None:
        job_id = invoke.value["id"]
        delivery = self.given.get((call.conn, job_id, invoke.value.get("token")))
        if delivery is not None:
            delivery.settles.append(call)
            if call.f != "touch" and self.holding.get(call.process) is delivery:
                del self.holding[call.process]
        nonce = delivery.nonce if delivery else self.names.get(job_id, ("", call))[0]
        if call.f == "ack" and (job := self.model.jobs.get(nonce)):
            job.acks.append(call)
            if call.outcome != "fail" and call.invoked_ns < job.finished_ns:
                job.finished_ns = call.invoked_ns

    # The auditor, who asks what only some brokers tell

    def stats(self, call: Call, invoke: Op, end: Op | None) -> None:
        if end is not None and end.type == "ok":
            self.model.stats.append((call, end.value))

    def dead(self, call: Call, invoke: Op, end: Op | None) -> None:
        if end is not None and end.type == "ok":
            jobs = [(job["id"], nonce_of(job["payload"])) for job in end.value["dead"]]
            self.model.listings.append(Listing(call, jobs))
            listed = {nonce for _, nonce in jobs}
            self.model.dead |= listed
            self.model.perhaps_kicked -= listed

    def kick(self, call: Call, invoke: Op, end: Op | None) -> None:
        if call.outcome == "fail":
            return
        nonce = invoke.value["job"]
        self.model.kicks.append((nonce, call))
        self.model.calm_ns = call.invoked_ns
        if call.outcome == "ok":
            self.model.dead.discard(nonce)
        else:
            self.model.perhaps_kicked.add(nonce)

    def intrude(self, call: Call, invoke: Op, end: Op | None) -> None:
        if end is not None:
            self.model.intrusions.append(end)

    def route(self, call: Call, invoke: Op, end: Op | None) -> None:
        self.model.routed.append((call, (end or invoke).value, end.error if end else None))

    # Connections

    def lose_connection(self, invoke: Op, end: Op) -> None:
        """A client that times out closes the connection itself, later; any other end may have come earlier.

        The last answer was on its way for an unknown time, but was given after that call's invocation.
        """
        conn, error = invoke.value["conn"], end.error or ""
        cut_ns = end.time_ns if error == "timeout" else self.answered.get(conn, invoke.time_ns)
        self.leave(invoke.process, conn, cut_ns)
        if error.startswith(BROKEN_REPLIES):
            self.model.broken_replies.append(end)

    def leave(self, process: str, conn: str, cut_ns: int) -> None:
        """It closes this connection before it does anything else."""
        self.cut(process, conn, cut_ns)
        self.conns.pop(process, None)
        self.leaving[process] = conn

    def exited(self, process: str, time_ns: int) -> None:
        """Unless a kill was logged before, it is only known to have died after its last sign of life."""
        conn = self.conns.pop(process, None)
        if conn is not None and conn not in self.cuts:
            self.cut(process, conn, self.seen_ns[process])
        for ended in (conn, self.leaving.pop(process, None)):
            if ended is not None:
                self.over(ended, time_ns)

    def cut(self, process: str, conn: str, time_ns: int) -> None:
        self.cuts[conn] = min(time_ns, self.cuts.get(conn, time_ns))
        self.holding.pop(process, None)

    def over(self, conn: str, time_ns: int) -> None:
        self.overs[conn] = min(time_ns, self.overs.get(conn, time_ns))

    # Faults, the broker and the lab

    def nemesis(self, op: Op) -> None:
        fault, phase, victim = op.value["fault"], op.value["phase"], op.value["victim"]
        if phase == "begin":
            exact = bool(op.value.get("exact"))
            self.strikes[fault] = Strike(fault, op.f, victim, exact, op.time_ns, None, None, None)
        elif fault not in self.strikes:
            return  # missed before it began: there was nobody to strike
        if phase == "missed":  # what never struck needs no healing
            if victim == "broker" and op.f in MORTAL:
                self.close_deaths(op.time_ns)  # it lives on
            if op.f in LIMITS:
                self.model.calm_ns = op.time_ns  # it was in force, and may have been met unseen
            return
        self.model.calm_ns = op.time_ns
        strike = self.strikes[fault]
        if phase == "end":
            strike = strike._replace(end_ns=op.time_ns)
        elif phase == "struck":
            strike = strike._replace(struck_ns=op.time_ns)
        if phase != "end" and (held := self.holding.get(victim)):
            strike = strike._replace(holding=held.nonce)
        self.strikes[fault] = strike
        if phase == "struck" and (covers_from_ns := op.value.get("covers_from_ns")) is not None:
            failed_ns = op.value.get("failed_ns", op.time_ns)
            self.model.failed_syncs.append(FailedSync(covers_from_ns, failed_ns, (op.index,)))
        if op.f == "reset" and phase == "begin":  # one over which a job came is open, and the lab knows it
            self.resets[fault] = [delivery.call.conn for process, delivery in self.holding.items()
                                  if victim in (process, "broker")]  # fmt: skip
        if op.f == "reset" and phase == "struck":
            for conn in self.resets[fault]:
                self.over(conn, op.time_ns)
        if op.f in CUTS_LINKS and phase == "begin":
            for process, conn in list(self.conns.items()):
                if victim in (process, "broker"):
                    self.cut(process, conn, op.time_ns)
        if op.f in MORTAL and phase == "begin":
            self.kill(victim, op.time_ns, op.f in HARMS_DISK, op.f in POLITE)
        elif op.f in MORTAL and phase == "struck" and victim != "broker":
            self.exited(victim, op.time_ns)

    def lab(self, op: Op) -> None:
        if op.f == "broker_ready":
            self.model.incarnations += 1
            self.close_deaths(op.time_ns)
        elif op.f == "exit" and op.value["victim"] != "broker":
            self.exited(op.value["victim"], op.time_ns)
        elif op.f == "exit" and not self.is_dead():
            self.kill("broker", self.last_ok_ns)
        elif op.f == "resources":
            self.model.resources.append(op)
        elif op.f == "end":
            v = op.value
            self.model.end = End(
                op.time_ns, v["drained"], v["why"], v["healthy"], v["epsilon_ns"], v.get("decided", False)
            )

    def kill(self, victim: str, time_ns: int, harms_disk: bool = False, polite: bool = False) -> None:
        if victim == "broker":
            self.model.deaths.append(Death(time_ns, math.inf, harms_disk, polite))
        elif conn := self.conns.get(victim):
            self.cut(victim, conn, time_ns)

    def is_dead(self) -> bool:
        """Or may be: a death has been told, and no return."""
        return bool(self.model.deaths) and self.model.deaths[-1].until_ns == math.inf

    def close_deaths(self, time_ns: int) -> None:
        deaths = self.model.deaths
        for i in range(len(deaths) - 1, -1, -1):
            if deaths[i].until_ns < math.inf:
                break
            deaths[i] = deaths[i]._replace(until_ns=time_ns)
