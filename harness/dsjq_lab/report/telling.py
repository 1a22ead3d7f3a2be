"""Makes a trace out of a history, which knows the clients' intervals and, at best, the broker's own records.

A call has three moments: the client asks, the broker serves, the client hears. The second is not measured, it
only lies between the others. Where the broker kept a trace, its record names the moment; elsewhere it is put
as late as can be: before the answer, and before anything that presupposes it. A call whose answer never came
may or may not have been served. It is drawn as served only where there is proof: the broker's record, or a
job that came back although nobody heard that it was taken. Where the network was overheard, its record tells
what never arrived, and what was answered in vain.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from dsjq_lab.checkers.legal_transitions import TRANSITIONS
from dsjq_lab.history import Op, no_garbage
from dsjq_lab.model import Model
from dsjq_lab.reading import MORTAL, POLITE
from dsjq_lab.report.explain import HEALED, STRUCK, submission
from dsjq_lab.report.overheard import Overheard, Wire
from dsjq_lab.report.trace import DELIVERED, LOST, UNKNOWN, Band, Event, Message, Trace
from dsjq_lab.seen import UNFELT, Delivery, Strike, nonce_of

ENDS = MORTAL | {"kill_on"}  # the faults that end a process
BROKER, LEDGER = "broker", "ledger"
LANES = ("producer", BROKER, "worker", "auditor", LEDGER)  # jobs flow from left to right
QUESTIONS = {"connect": "HELLO", "stats": "STATS", "dead": "JOBS", "reserve": "RESERVE"}
BECOMES = {
    "submit": "PENDING", "reserve": "IN_FLIGHT", "touch": "IN_FLIGHT", "ack": "DONE", "fail": "PENDING",
    "release": "PENDING", "kick": "PENDING",
}  # fmt: skip
ASKED_BY = {  # a record of the broker's own -> the call that it may answer; of others, only time is the cause
    "Submitted": "submit", "Delayed": "submit", "Delivered": "reserve", "Touched": "touch", "Acked": "ack",
    "Failed": "fail", "Died": "fail", "Released": "release", "Kicked": "kick",
}  # fmt: skip


def trace(model: Model) -> Trace:
    with no_garbage():
        return _Telling(model).told()


def lane_order(lane: str) -> tuple[int, str, int]:
    """Producers, the broker, workers, the rest; "worker 10" after "worker 9"."""
    role, _, number = lane.partition(" ")
    rank = LANES.index(role) if role in LANES else len(LANES)
    return rank, role, int(number) if number.isdecimal() else 0


class _Moment:
    """An event that has no place yet."""

    def __init__(
        self, time_ns: int, lane: str, kind: str, text: str, call: "_Moment | None", more: dict[str, Any]
    ) -> None:
        self.time_ns, self.lane, self.kind, self.text, self.more = time_ns, lane, kind, text, more
        self.call = self if kind == "ask" else call
        self.measured = True
        self.index = -1

    def event(self) -> Event:
        call = self.call.index if self.call else None
        return Event(
            self.index, self.time_ns, self.lane, self.kind, self.text,
            call=call, measured=self.measured, **self.more,
        )  # fmt: skip


class _Arrow(NamedTuple):
    source: _Moment
    target: _Moment | None
    lane: str
    text: str
    fate: str

    def message(self) -> Message:
        return Message(self.source.index, self.target.index if self.target else None, *self[2:])


class _Telling:
    def __init__(self, model: Model) -> None:
        self.model = model
        self.moments: list[_Moment] = []
        self.arrows: list[_Arrow] = []
        self.bands: list[Band] = []
        self.records: dict[str, list[Op]] = defaultdict(list)  # the broker's, not yet told, by its job id
        self.names: dict[str, list[tuple[int, str]]] = defaultdict(list)  # its id -> which job, since when
        self.ids: dict[str, str] = {}  # and back
        self.holders: dict[str, int] = {}  # a client's connection -> the broker's name for it
        self.spoke_ns: dict[str, list[int]] = defaultdict(list)  # when each process gave a sign of life
        self.last_ns = max((op.time_ns for op in model.ops), default=model.header.start_ns)
        self.wire = Wire(model.overheard)

    def told(self) -> Trace:
        self.acquaint()
        for invoke, end, next_ns in self.calls():
            self.call(invoke, end, self.wire.of(invoke.process, invoke.time_ns, next_ns))
        for strike in self.model.strikes:
            self.strike(strike)
        self.exits()
        for op in self.model.ops:
            if op.process == LEDGER:
                self.effect(op)
        if self.traced:
            self.rest_of_the_records()
        else:
            self.leases()
        self.moments.sort(key=lambda moment: moment.time_ns)  # stable: a call's moments stay in their order
        for index, moment in enumerate(self.moments):
            moment.index = index
        header = self.model.header
        return Trace(
            f"{header.scenario} · broker {header.broker} · seed {header.seed}",
            header.start_ns,
            sorted({BROKER, *(moment.lane for moment in self.moments)}, key=lane_order),
            [moment.event() for moment in self.moments],
            [arrow.message() for arrow in self.arrows],
            self.bands,
        )

    def acquaint(self) -> None:
        """Learns the broker's names for the jobs, what it recorded itself, and who lived when."""
        for op in self.model.ops:
            self.spoke_ns[BROKER if op.f == "broker_ready" else op.process].append(op.time_ns)
            if op.process == BROKER and op.f == "record":
                self.records[str(op.value.get("job"))].append(op)
            elif op.type == "ok" and op.f in ("submit", "reserve") and "id" in op.value:
                nonce = nonce_of(op.value["payload"])
                self.names[op.value["id"]].append((op.time_ns, nonce))
                self.ids[nonce] = op.value["id"]
        self.traced = bool(self.records)

    # -- Calls

    def calls(self) -> Iterator[tuple[Op, Op | None, int]]:
        """Each question with its end, if its client lived to see one, and when it asked the next."""
        asked: dict[str, Op] = {}
        ends: dict[int, Op] = {}  # by the index of the question
        next_ns: dict[int, int] = {}
        for op in self.model.ops:
            before = asked.get(op.process)
            if op.type == "invoke":
                if before:
                    next_ns[before.index] = op.time_ns
                asked[op.process] = op
            elif before and before.index not in ends:
                ends[before.index] = op
        for op in self.model.ops:
            if op.type == "invoke":
                yield op, ends.get(op.index), next_ns.get(op.index, self.last_ns + 1)

    def call(self, invoke: Op, end: Op | None, overheard: Overheard | None) -> None:
        record = self.record_of(invoke, end)
        job = self.job_of(end or invoke) or self.job_of(invoke)
        if record and not job:
            job = self.named(str(record.value.get("job")), record.time_ns)
        jobs = (job,) if job else ()
        about: dict[str, Any] = {"jobs": jobs, "idle": not jobs and end is not None and end.type == "ok"}
        client, words = invoke.process, question(invoke)
        ask = self.moment(invoke.time_ns, client, "ask", words, ops=(invoke.index,), **about)
        replied = end is not None and heard_reply(end)
        serve = hear = None
        answered_ns = overheard.answered_ns if overheard else None
        if replied or record or answered_ns or self.came_to_light(invoke, jobs):
            time_ns = record.time_ns if record else self.latest_ns(invoke, end, jobs)
            if answered_ns and not record:
                time_ns = min(time_ns, answered_ns) if replied else answered_ns
            state = recorded(record) if record else self.outcome(invoke, end, jobs)
            serve = self.moment(time_ns, BROKER, "serve", words, ask, state=state, **about)
            serve.measured = record is not None
        if end is not None:
            hear = self.moment(end.time_ns, client, "hear", answer(end), ask, ops=(end.index,), **about)
        if serve is None:
            stopped = overheard is not None and overheard.arrived_ns is None  # on the way
            lost = stopped or (end is not None and unreachable(end))
            self.send(ask, None, BROKER, words, LOST if lost else UNKNOWN)
        else:
            self.send(ask, serve, BROKER, words, DELIVERED)
            if hear and replied:
                self.send(serve, hear, client, hear.text, DELIVERED)
            else:
                self.send(serve, None, client, "the answer", LOST)

    def job_of(self, op: Op) -> str | None:
        if "payload" in op.value:
            return nonce_of(op.value["payload"])
        job: str | None = op.value.get("job")
        return job or (self.named(op.value["id"], op.time_ns) if "id" in op.value else None)

    def named(self, id: str, time_ns: int) -> str | None:
        """Our name for it. A broker that forgets its jobs when it dies gives their ids out again."""
        names = self.names.get(id, [])
        known = bisect_right(names, time_ns, key=lambda name: name[0])
        return names[max(0, known - 1)][1] if names else None

    def record_of(self, invoke: Op, end: Op | None) -> Op | None:
        """What the broker recorded when it did what was asked."""
        value = invoke.value | (end.value if end else {})
        conn, id = value["conn"], value.get("id") or self.ids.get(nonce_of(value.get("payload", "")))
        until_ns = end.time_ns if end and heard_reply(end) else self.last_ns
        if id is None and invoke.f == "reserve" and not (end and end.type == "ok"):
            known = [record for records in self.records.values() for record in records]
            fits = [r for r in known if r.value.get("holder") == self.holders.get(conn, "nobody")]
        else:
            fits = self.records.get(str(id), [])
        for record in fits:
            asked_for_it = ASKED_BY.get(record.value["record"]) == invoke.f
            if asked_for_it and invoke.time_ns <= record.time_ns <= until_ns:
                self.records[str(record.value.get("job"))].remove(record)
                self.holders.setdefault(conn, record.value.get("holder", 0))
                return record
        return None

    def came_to_light(self, invoke: Op, jobs: tuple[str, ...]) -> bool:
        """Nobody heard that this job was taken, but it was delivered, or is dead."""
        job = self.model.jobs.get(jobs[0]) if invoke.f == "submit" else None
        return job is not None and bool(job.deliveries or job.nonce in self.model.dead)

    def latest_ns(self, invoke: Op, end: Op | None, jobs: tuple[str, ...]) -> int:
        """The last moment at which it can have been done: before the answer, the end of the connection, the
        death of the broker that was asked, and the next delivery of the job."""
        times = [self.model.death_ns(self.model.life(invoke.time_ns)) - 1, self.last_ns]
        if end and (heard_reply(end) or end.error in ("eof", "reset")):
            times.append(end.time_ns - 1)
        if jobs and invoke.f in ("submit", "fail", "release", "kick"):
            deliveries = self.model.jobs[jobs[0]].deliveries if jobs[0] in self.model.jobs else []
            times += [d.returned_ns - 2 for d in deliveries if d.returned_ns > invoke.time_ns]
        return max(invoke.time_ns, int(min(times)))

    def outcome(self, invoke: Op, end: Op | None, jobs: tuple[str, ...]) -> str:
        """What the job became by it, as a client can know."""
        if not jobs or (end is not None and end.type == "fail"):
            return ""
        job = self.model.jobs.get(jobs[0])
        if invoke.f == "fail" and job and job.nonce in self.model.dead:
            came_back = any(delivery.returned_ns > invoke.time_ns for delivery in job.deliveries)
            return BECOMES["fail"] if came_back else "DEAD"
        return "DELAYED" if invoke.value.get("delay_s") else BECOMES.get(invoke.f, "")

    def effect(self, op: Op) -> None:
        """What a worker did to the outside world, and whether that let it."""
        jobs, worker = (op.value["job"],), op.value["worker"]
        ask = self.moment(op.time_ns, worker, "ask", f"effect of {jobs[0]}", jobs=jobs, ops=(op.index,))
        text = "written" if op.type == "ok" else f"turned away: {op.error}"
        serve = self.moment(op.time_ns, LEDGER, "serve", text, ask, jobs=jobs, ops=(op.index,))
        self.send(ask, serve, LEDGER, ask.text, DELIVERED)

    # -- Faults, and what only the clock brings about

    def strike(self, strike: Strike) -> None:
        if strike.struck_ns is None:
            return
        verb, victim, jobs = strike.verb, strike.victim, tuple(filter(None, [strike.holding]))
        struck, kind = STRUCK.get(verb, verb), "dead" if verb in ENDS else "hung"
        # A death is felt before it is seen. Others are as they were until they are seen to be struck, and so
        # is a broker whose death lies in wait for it (kill_on): it may still do much after the fault began.
        told_ns = strike.begin_ns if kind == "dead" and verb != "kill_on" else strike.struck_ns
        told = struck + (" (exact)" if strike.exact else "")
        self.moment(told_ns, victim, "fault" if kind == "dead" else "hang", told, jobs=jobs)
        if verb in UNFELT:
            return  # it lasts for no time
        end_ns = self.last_ns
        if strike.end_ns is not None:
            end_ns = self.waking_ns(victim, strike.struck_ns, strike.end_ns)
            self.moment(end_ns, victim, "heal", HEALED.get(verb, "back"), jobs=jobs)
        begin_ns = strike.struck_ns if verb in POLITE else told_ns
        self.bands.append(Band(victim, kind, begin_ns, end_ns, struck))

    def waking_ns(self, victim: str, struck_ns: int, end_ns: int) -> int:
        """When it was well again: it may have spoken before the lab had written down that it was healed."""
        times = self.spoke_ns[victim]
        first = bisect_right(times, struck_ns)
        return min(end_ns, times[first] - 1) if first < len(times) else end_ns

    def exits(self) -> None:
        """Those that no fault explains."""
        dead_since_ns: dict[str, int] = {}
        for op in self.model.ops:
            if op.f == "exit" and not op.value["planned"]:
                dead_since_ns[op.value["victim"]] = op.time_ns
                text = f"ended by itself, status {op.value['status']}"
                self.moment(op.time_ns, op.value["victim"], "fault", text, ops=(op.index,))
            elif op.f == "broker_ready" and BROKER in dead_since_ns:
                self.bands.append(Band(BROKER, "dead", dead_since_ns.pop(BROKER), op.time_ns, "ended"))
                self.moment(op.time_ns, BROKER, "heal", "back", ops=(op.index,))
        for victim, since_ns in dead_since_ns.items():
            self.bands.append(Band(victim, "dead", since_ns, self.last_ns, "ended"))

    def leases(self) -> None:
        """When a lease was over that nobody ended, at the latest."""
        for job in self.model.jobs.values():
            for delivery in job.deliveries:
                if (over_ns := self.over_ns(delivery)) is not None:
                    text = f"lease over ({delivery.call.process})"
                    self.moment(over_ns, BROKER, "clock", text, jobs=(job.nonce,)).measured = False

    def over_ns(self, delivery: Delivery) -> int | None:
        over_ns = delivery.returned_ns + self.model.header.ack_timeout_ns
        for call in delivery.settles:
            if call.outcome == "ok" and call.invoked_ns < over_ns:
                if call.f != "touch":
                    return None
                over_ns = max(over_ns, call.invoked_ns + self.model.header.ack_timeout_ns)
        return over_ns if over_ns < min(delivery.cut_ns, self.last_ns) else None

    def rest_of_the_records(self) -> None:
        """What nobody had asked for, or nobody heard of."""
        for id, records in self.records.items():
            for record in records:
                text = str(record.value.get("why") or record.value["record"].lower())
                jobs = tuple(filter(None, [self.named(id, record.time_ns)]))
                told: dict[str, Any] = {"jobs": jobs, "state": recorded(record), "ops": (record.index,)}
                self.moment(record.time_ns, BROKER, "clock", text, **told)

    # -- The making of events

    def moment(
        self, time_ns: int, lane: str, kind: str, text: str, call: "_Moment | None" = None, **more: Any
    ) -> "_Moment":
        moment = _Moment(time_ns, lane, kind, text, call, more)
        self.moments.append(moment)
        return moment

    def send(self, source: _Moment, target: _Moment | None, lane: str, text: str, fate: str) -> None:
        self.arrows.append(_Arrow(source, target, lane, text, fate))


def recorded(record: Op) -> str:
    """What the job became, by the broker's own word."""
    return TRANSITIONS.get(record.value["record"], (None, ""))[1]


# -- Words ------------------------------------------------------------------------------------------------


def question(invoke: Op) -> str:
    if invoke.f == "submit":
        return f"{submission(invoke.value)} {nonce_of(invoke.value['payload'])}"
    if "question" in invoke.value:  # of a stranger, or a publisher
        return str(invoke.value["question"])
    return QUESTIONS.get(invoke.f) or f"{invoke.f.upper()} {invoke.value.get('id', '')}".rstrip()


def answer(end: Op) -> str:
    value = end.value
    if end.type != "ok":
        return end.error or end.type
    if end.f == "submit":
        return f"JOB_ID {value['id']}"
    if end.f == "publish" and value["ids"]:
        return f"JOB_IDS {' '.join(value['ids'])}"
    if end.f in ("reserve", "take") and "id" in value:
        attempt = value.get("attempt")
        return f"JOB {value['id']}" + (f" attempt {attempt}" if attempt else "")
    if end.f == "stats":
        return "STATS " + " ".join(f"{name}={count}" for name, count in value.items() if name != "conn")
    if "reply" in value:
        return str(value["reply"])
    words = {"reserve": "EMPTY", "take": "EMPTY", "connect": value.get("greeting") or "connected"}
    return str(words.get(end.f, "OK"))


def unreachable(end: Op) -> bool:
    return end.type == "fail" and (end.error or "").startswith("UNREACHABLE")


def heard_reply(end: Op) -> bool:
    """Something came back, if only garbage."""
    return not unreachable(end) and (end.type != "info" or (end.error or "").startswith(("garbage", "extra")))
