"""A queue that is right by construction, and the ways in which one can be wrong.

It lives in a simulated world (generated_histories.py): time is what it is told, and nothing happens twice at
once. It promises what docs/protocol.md does; without tokens it is a black box, and uses the freedom that the
contract leaves to one. Each bug is a subclass, beside the invariants that may rightly find it.
"""

import random
from collections.abc import Callable
from typing import Any, NamedTuple

STATES = DELAYED, PENDING, IN_FLIGHT, FAILED, DONE, DEAD = (
    "delayed", "pending", "in_flight", "failed", "done", "dead"
)  # fmt: skip
FOREVER = float("inf")
OLDEST_TURN = 10


Value = dict[str, Any]


class Rules(NamedTuple):
    """Times are milliseconds."""

    tokens: bool  # as the reference has them; without: the four core commands alone
    ack_timeout: float
    tolerance: float  # how late a black box may end a lease, or bring a job back
    max_attempts: int | None
    refusals: float  # how many of the SUBMITs it has no room for
    backoff: float = 0.0  # the longest that a job which failed waits for its retry


class Reply(NamedTuple):
    type: str  # ok, fail or info, as the client will write it down
    value: Value = {}  # noqa: RUF012 (never changed)
    error: str | None = None


OK = Reply("ok")
EMPTY = Reply("ok", {"empty": True})


class Job:
    def __init__(self, id: str, payload: str, place: float, limit: float) -> None:
        self.id, self.payload, self.place, self.limit = id, payload, place, limit
        self.state = PENDING
        self.attempts = 0
        self.priority = 0
        self.due = 0.0  # when its delay is over
        self.holder: object = None
        self.token: str | None = None
        self.lease_end = FOREVER
        self.back_at = 0.0  # when a job that came back can be had again
        self.former: list[tuple[object, str | None]] = []  # who held it before


class Queue:
    """`now` is the clock, `trace` takes the name of a record and its job."""

    leaks = False  # a thread for each connection that ended

    def __init__(
        self,
        rules: Rules,
        dice: random.Random,
        now: Callable[[], float],
        trace: Callable[[str, Job], None] = lambda record, job: None,
    ) -> None:
        self.rules, self.dice, self.now, self.trace = rules, dice, now, trace
        self.jobs: dict[str, Job] = {}
        self.keys: dict[str, Job] = {}
        self.epoch = 1
        self.deliveries = 0

    # Commands

    def submit(self, conn: object, payload: str, terms: Value) -> Reply:
        if self.dice.random() < self.rules.refusals:
            return Reply("fail", error="ERROR QUEUE_FULL no room")
        if known := self.keys.get(terms.get("key", "")):
            return self.again(known, payload)
        limit = self.rules.max_attempts or FOREVER
        job = self.jobs[id] = Job(id := self.new_id(), payload, len(self.jobs), limit)
        job.priority, delay = terms.get("priority", 0), self.delay(terms)
        if "key" in terms:
            self.keys[terms["key"]] = job
        job.due = self.now() + delay
        self.move(job, *((DELAYED, "Delayed") if delay else (PENDING, "Submitted")))
        return Reply("ok", {"id": id})

    def reserve(self, conn: object) -> Reply:
        self.pass_time()
        waiting = [job for job in self.jobs.values() if job.state == PENDING and job.back_at <= self.now()]
        return self.deliver(self.choose(waiting), conn) if waiting else EMPTY

    def ack(self, conn: object, id: str, token: str | None) -> Reply:
        self.pass_time()
        job = self.jobs.get(id)
        if job and job.state == DONE and self.finished(job, conn, token):
            return OK if self.rules.tokens or self.dice.random() < 0.5 else self.stale(job)
        if job is None or not self.holds(job, conn, token):
            return self.stale(job)
        self.move(job, DONE, "Acked")
        return OK

    def fail(self, conn: object, id: str, token: str | None) -> Reply:
        self.pass_time()
        job = self.jobs.get(id)
        if job is None or not self.holds(job, conn, token):
            return self.stale(job)
        self.end_badly(job, "Failed")
        return OK

    def release(self, conn: object, id: str, token: str | None) -> Reply:
        self.pass_time()
        job = self.jobs.get(id)
        if job is None or not self.holds(job, conn, token):
            return self.stale(job)
        job.limit += self.free(job)
        self.move(job, PENDING, "Released")
        return OK

    def touch(self, conn: object, id: str, token: str | None) -> Reply:
        self.pass_time()
        job = self.jobs.get(id)
        if job is None or not self.holds(job, conn, token):
            return self.stale(job)
        self.trace("Touched", job)
        job.lease_end = self.now() + self.lease()
        return OK

    def stats(self, conn: object) -> Reply:
        self.pass_time()
        states = [job.state for job in self.jobs.values()]
        counts = {state: states.count(state) for state in STATES}
        return Reply("ok", {"submitted": len(states), **counts})

    def dead(self, conn: object, after: str) -> Reply:
        self.pass_time()
        page = [job for job in self.jobs.values() if job.state == DEAD and int(job.id) > int(after)]
        return Reply("ok", {"dead": [{"id": job.id, "payload": job.payload} for job in page]})

    def kick(self, conn: object, id: str) -> Reply:
        job = self.jobs.get(id)
        if job is None or job.state != DEAD:
            return Reply("fail", error="ERROR NOT_DEAD")
        job.limit = job.attempts + (self.rules.max_attempts or FOREVER)
        self.move(job, PENDING, "Kicked")
        return OK

    def disconnect(self, conn: object) -> None:
        for job in self.held():
            if job.holder is conn:
                self.end_badly(job, "Requeued")

    def recover(self, power_lost: bool) -> None:
        """A durable queue's broker starts again. Deliveries are told before they are safe."""
        self.epoch += 1
        self.deliveries = 0
        for job in self.held():
            if power_lost and self.dice.random() < 0.5:
                job.attempts -= 1
                self.move(job, PENDING, "Requeued")
            else:
                self.end_badly(job, "Requeued")

    def left(self) -> int:
        return sum(job.state in (DELAYED, PENDING, IN_FLIGHT) for job in self.jobs.values())

    # The parts, in which the bugs are

    def new_id(self) -> str:
        return f"{len(self.jobs) + 1}" if self.rules.tokens else f"{self.dice.getrandbits(48):x}"

    def again(self, known: Job, payload: str) -> Reply:
        same = known.payload == payload
        return Reply("ok", {"id": known.id}) if same else Reply("fail", error="ERROR KEY_CONFLICT")

    def delay(self, terms: Value) -> float:
        return terms.get("delay_s", 0.0) * 1000

    def choose(self, waiting: list[Job]) -> Job:
        """The most urgent, of these the oldest, and now and then the oldest of all.

        A black box may bring a job back to any place.
        """
        fresh = [job for job in waiting if not job.attempts][:1]
        if self.rules.tokens:
            oldest = (self.deliveries + 1) % OLDEST_TURN == 0
            return min(waiting, key=lambda job: (0 if oldest else job.priority, job.place))
        return self.dice.choice(fresh + [job for job in waiting if job.attempts])

    def deliver(self, job: Job, conn: object) -> Reply:
        job.attempts += 1
        self.deliveries += 1
        job.holder, job.lease_end = conn, self.now() + self.lease()
        nonce = job.payload.split(" ")[0]
        given: Value = {"job": nonce, "id": job.id, "payload": job.payload, "token": None, "attempt": None}
        if self.rules.tokens:
            job.token = self.new_token()
            given |= {"token": job.token, "attempt": self.attempt(job)}
        job.former.append((conn, job.token))
        self.move(job, IN_FLIGHT, "Delivered")
        return Reply("ok", given)

    def new_token(self) -> str:
        return f"{self.epoch}.{self.deliveries}"

    def attempt(self, job: Job) -> int:
        return job.attempts

    def free(self, job: Job) -> int:
        """How many attempts a release gives back."""
        return 1

    def lease(self) -> float:
        late = 0 if self.rules.tokens else self.dice.uniform(0, 0.9) * self.rules.tolerance
        return self.rules.ack_timeout + late

    def holds(self, job: Job, conn: object, token: str | None) -> bool:
        return job.state == IN_FLIGHT and job.holder is conn and token in (None, job.token)

    def finished(self, job: Job, conn: object, token: str | None) -> bool:
        """Whether it was this one who finished it, and says so again."""
        return token == job.token if token else conn is job.holder

    def held(self) -> list[Job]:
        return [job for job in self.jobs.values() if job.state == IN_FLIGHT]

    def pass_time(self) -> None:
        for job in self.jobs.values():
            if job.state == DELAYED and job.due <= self.now():
                self.move(job, PENDING, "Matured")
        for job in self.held():
            if job.lease_end <= self.now():
                self.end_badly(job, "Requeued")

    def end_badly(self, job: Job, record: str) -> None:
        if job.attempts >= job.limit:
            self.move(job, DEAD, "Died")
            return
        if record == "Failed":
            self.move(job, FAILED, record)
            record = "Retried"
        job.back_at = self.now() + self.late(job, record)
        self.move(job, PENDING, record)

    def late(self, job: Job, record: str) -> float:
        """A black box may take its time. (The news of a disconnect has been on its way for a while.)"""
        if record == "Retried" and self.rules.backoff:
            return self.dice.uniform(0, self.rules.backoff)
        if self.rules.tokens or job.lease_end <= self.now():
            return 0
        return self.dice.uniform(0, 0.9 if record == "Retried" else 0.3) * self.rules.tolerance

    def move(self, job: Job, state: str, record: str) -> None:
        job.state = state
        self.trace(record, job)

    def stale(self, job: Job | None) -> Reply:
        return Reply("fail", error="ERROR STALE" if job else "ERROR NO_SUCH_JOB")


# -- Bugs -------------------------------------------------------------------------------------------------


class TakesWithoutLease(Queue):
    def choose(self, waiting: list[Job]) -> Job:
        return self.dice.choice(self.held() or waiting)


class LeaseTooShort(Queue):
    def lease(self) -> float:
        return self.rules.ack_timeout * 0.1


class TouchForgotten(Queue):
    def touch(self, conn: object, id: str, token: str | None) -> Reply:
        job = self.jobs.get(id)
        return OK if job and self.holds(job, conn, token) else self.stale(job)


class StaleAckAccepted(Queue):
    def holds(self, job: Job, conn: object, token: str | None) -> bool:
        was = any(conn is holder and token in (None, theirs) for holder, theirs in job.former)
        return job.state == IN_FLIGHT and was


class LateAckAccepted(Queue):
    def holds(self, job: Job, conn: object, token: str | None) -> bool:
        last = job.former[-1:] == [(conn, token)]
        return super().holds(job, conn, token) or (job.state == PENDING and last)


class ForgottenAtDelivery(Queue):
    def end_badly(self, job: Job, record: str) -> None:
        self.jobs.pop(job.id)


class ComesBackAfterAck(Queue):
    def disconnect(self, conn: object) -> None:
        for job in self.jobs.values():
            if job.holder is conn and job.state == DONE:
                self.move(job, PENDING, "Requeued")
        super().disconnect(conn)


class AttemptsNotCounted(Queue):
    def attempt(self, job: Job) -> int:
        return 1


class DeadTooLate(Queue):
    def end_badly(self, job: Job, record: str) -> None:
        job.limit += job.attempts == self.rules.max_attempts
        super().end_badly(job, record)


class DeadTooEarly(Queue):
    def end_badly(self, job: Job, record: str) -> None:
        job.limit -= job.attempts == job.limit - 1
        super().end_badly(job, record)


class ListsTheDone(Queue):
    def dead(self, conn: object, after: str) -> Reply:
        page = [job for job in self.jobs.values() if job.attempts > 1 and int(job.id) > int(after)]
        return Reply("ok", {"dead": [{"id": job.id, "payload": job.payload} for job in page]})


class ReleasesCounted(Queue):
    def free(self, job: Job) -> int:
        return 0


class FailedToTheTail(Queue):
    def end_badly(self, job: Job, record: str) -> None:
        job.place = len(self.jobs) + self.deliveries
        super().end_badly(job, record)


class LastInFirstOut(Queue):
    def choose(self, waiting: list[Job]) -> Job:
        return max(waiting, key=lambda job: job.place)


class DisconnectForgotten(Queue):
    """The job waits for the end of its lease."""

    def disconnect(self, conn: object) -> None:
        for job in self.held():
            if job.holder is conn:
                job.lease_end += 2 * self.rules.tolerance


class LeaseWithoutEnd(Queue):
    def pass_time(self) -> None:
        pass


class FailedForEver(Queue):
    def end_badly(self, job: Job, record: str) -> None:
        super().end_badly(job, record)
        if record == "Failed":
            job.back_at = FOREVER


class CountsOneTooMany(Queue):
    def stats(self, conn: object) -> Reply:
        reply = super().stats(conn)
        return Reply("ok", reply.value | {"submitted": reply.value["submitted"] + bool(self.held())})


class PayloadTrimmed(Queue):
    def submit(self, conn: object, payload: str, terms: Value) -> Reply:
        return super().submit(conn, " ".join(payload.split()), terms)


class RefusedAndKept(Queue):
    def submit(self, conn: object, payload: str, terms: Value) -> Reply:
        reply = super().submit(conn, payload, terms)
        return reply._replace(type="fail", value={}, error="ERROR STORAGE") if len(self.jobs) == 3 else reply


class InventedJob(Queue):
    def deliver(self, job: Job, conn: object) -> Reply:
        reply = super().deliver(job, conn)
        strange = {"payload": f"x{job.payload}"} if self.deliveries == 3 else {}
        return Reply("ok", reply.value | strange)


class IdTwice(Queue):
    def submit(self, conn: object, payload: str, terms: Value) -> Reply:
        reply = super().submit(conn, payload, terms)
        return Reply("ok", {"id": "2"}) if reply.value.get("id") == "3" else reply


class TokenTwice(Queue):
    def new_token(self) -> str:
        return f"{self.epoch}.{(self.deliveries + 1) // 2}"


class WordsTwice(Queue):
    """Its replies are one too many, now and then: the client reads what it did not ask for."""

    def reserve(self, conn: object) -> Reply:
        odd = self.dice.random() < 0.05
        return Reply("info", error="extra: EMPTY") if odd else super().reserve(conn)


class ForgetsItsDone(Queue):
    """Its journal has no ACKs."""

    def recover(self, power_lost: bool) -> None:
        super().recover(power_lost)
        for job in self.jobs.values():
            if job.state == DONE:
                self.move(job, PENDING, "Requeued")


class ForgetsItsJobs(Queue):
    """Its journal has no SUBMITs of the last moment."""

    def recover(self, power_lost: bool) -> None:
        super().recover(power_lost)
        for id in list(self.jobs)[-2:]:
            del self.jobs[id]


class TokensBeginAgain(Queue):
    def recover(self, power_lost: bool) -> None:
        super().recover(power_lost)
        self.epoch -= 1


class AttemptsBeginAgain(Queue):
    def recover(self, power_lost: bool) -> None:
        super().recover(power_lost)
        for job in self.jobs.values():
            job.attempts = 0


class LeasesOfTheDead(Queue):
    """It comes back with its leases, and nobody who holds them."""

    def recover(self, power_lost: bool) -> None:
        self.epoch += 1
        self.deliveries = 0
        for job in self.held():
            job.holder, job.lease_end = None, self.now() + 4 * self.rules.tolerance


class TrustsItsDisk(Queue):
    """After a failed sync it goes on: see generated_histories.Broker."""

    trusts = True


class KeysIgnored(Queue):
    def submit(self, conn: object, payload: str, terms: Value) -> Reply:
        self.keys.clear()
        return super().submit(conn, payload, terms)


class ConflictsWithItself(Queue):
    def again(self, known: Job, payload: str) -> Reply:
        return super().again(known, payload + " ")


class DelayTooShort(Queue):
    def delay(self, terms: Value) -> float:
        return super().delay(terms) / 2


class StrictPriorities(Queue):
    def choose(self, waiting: list[Job]) -> Job:
        return min(waiting, key=lambda job: (job.priority, job.place))


class PrioritiesIgnored(Queue):
    def choose(self, waiting: list[Job]) -> Job:
        return min(waiting, key=lambda job: job.place)


class RetriesWithoutFailure(Queue):
    def move(self, job: Job, state: str, record: str) -> None:
        super().move(job, state, "Retried" if record == "Requeued" else record)


class ThreadsKept(Queue):
    leaks = True


class Bug(NamedTuple):
    queue: type[Queue]
    caught_by: set[str]  # the invariants that may rightly find it
    needs: dict[str, Any] = {}  # noqa: RUF012 (never changed)  what a plan must have for it to show at all


KILLS, PAUSES = ("kill worker",) * 3, ("pause worker",) * 4
DURABLE = {"durable": True, "faults": ("kill broker",)}
LIMITED = {"max_attempts": 2, "fail_rate": 0.5, "tokens": True, "core": False}
TOKENS = {"tokens": True, "core": False}
CROWD = {"jobs": 40, "priorities": 2, "workers": 1, "work": 0.1, "faults": (), "delay": 0.0, "slow": 0.0}
BUGS = [
    Bug(TakesWithoutLease, {"exclusive_lease"}, {"workers": 3}),
    Bug(LeaseTooShort, {"exclusive_lease"}, {"workers": 3, "work": 0.4}),
    Bug(TouchForgotten, {"exclusive_lease"}, TOKENS | {"workers": 3, "work": 1.2, "renew": True}),
    Bug(StaleAckAccepted, {"no_stale_ack", "done_is_final"}, {"workers": 3, "faults": PAUSES, "work": 0.8}),
    Bug(LateAckAccepted, {"late_ack_refused"}, TOKENS | {"workers": 1, "faults": PAUSES, "work": 0.4}),
    Bug(ForgottenAtDelivery, {"no_lost_job", "everything_finishes"}, {"faults": KILLS, "work": 0.4}),
    Bug(ComesBackAfterAck, {"done_is_final"}, {"faults": KILLS}),
    Bug(AttemptsNotCounted, {"attempts_increase"}, TOKENS | {"fail_rate": 0.3}),
    Bug(DeadTooLate, {"dead_letter_at_limit"}, LIMITED),
    Bug(DeadTooEarly, {"dead_letter_at_limit"}, LIMITED),
    Bug(ListsTheDone, {"dead_letter_at_limit"}, LIMITED),
    Bug(ReleasesCounted, {"dead_letter_at_limit"}, LIMITED | {"release_rate": 0.4}),
    Bug(FailedToTheTail, {"requeue_keeps_position"}, TOKENS | {"fail_rate": 0.3, "workers": 1, "jobs": 14}),
    Bug(LastInFirstOut, {"fifo"}, {"workers": 1, "jobs": 14, "work": 0.4}),
    Bug(DisconnectForgotten, {"redelivered_in_time"}, {"faults": KILLS, "workers": 4, "work": 0.8}),
    Bug(LeaseWithoutEnd, {"redelivered_in_time", "late_ack_refused"}, {"faults": PAUSES, "work": 0.8}),
    Bug(FailedForEver, {"everything_finishes", "redelivered_in_time"}, {"fail_rate": 0.3}),
    Bug(CountsOneTooMany, {"counts_conserved"}, TOKENS | {"work": 0.4}),
    Bug(PayloadTrimmed, {"payload_intact"}),
    Bug(RefusedAndKept, {"no_unexpected_job"}, {"jobs": 8}),
    Bug(InventedJob, {"no_unexpected_job"}, {"jobs": 8}),
    Bug(IdTwice, {"attempts_increase"}, {"jobs": 8}),
    Bug(TokenTwice, {"attempts_increase"}, TOKENS | {"jobs": 8}),
    Bug(WordsTwice, {"replies_match"}),
    Bug(ForgetsItsDone, {"done_is_final"}, DURABLE | {"work": 0.05}),
    Bug(ForgetsItsJobs, {"no_lost_job", "everything_finishes"}, DURABLE | {"work": 0.4, "workers": 1}),
    Bug(TokensBeginAgain, {"attempts_increase"}, DURABLE | TOKENS | {"work": 0.4}),
    Bug(AttemptsBeginAgain, {"attempts_increase"}, DURABLE | TOKENS | {"work": 0.4}),
    Bug(LeasesOfTheDead, {"redelivered_in_time"}, DURABLE | TOKENS | {"work": 0.8, "workers": 4}),
    Bug(TrustsItsDisk, {"no_success_after_fsync_error"}, DURABLE | {"faults": ("fsync_error broker",) * 3}),
    Bug(KeysIgnored, {"deduplicated"}, TOKENS | {"keyed": True, "slow": 0.3}),
    Bug(ConflictsWithItself, {"deduplicated"}, TOKENS | {"keyed": True, "slow": 0.3}),
    Bug(DelayTooShort, {"not_early"}, TOKENS | {"delay": 1000.0, "work": 0.05}),
    Bug(StrictPriorities, {"no_starvation"}, TOKENS | CROWD),
    Bug(PrioritiesIgnored, {"urgent_first"}, TOKENS | CROWD),
    Bug(RetriesWithoutFailure, {"legal_transitions"}, TOKENS | {"faults": KILLS, "work": 0.4}),
    Bug(ThreadsKept, {"no_leak"}, {"faults": KILLS * 4, "workers": 1}),
]
