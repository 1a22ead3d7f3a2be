"""The core against a naive model of what semantics promises: a list of dicts, searched from the top."""
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dsjq import lifecycle
from dsjq import messages as m
from dsjq.extensions.snapshot import snapshot
from dsjq.lifecycle import TIMED, TRANSITIONS, Queue, apply, decide, due

ACK_TIMEOUT_S, MAX_ATTEMPTS, PAUSE_S = 5.0, 3, 2.0
OLDEST_TURN = 3


class Model:
    """Answers as a broker should; a refusal is its code alone."""

    def __init__(self) -> None:
        self.jobs: list[dict[str, Any]] = []
        self.deliveries = 0

    def pass_time(self, now: float) -> None:
        for job in self.jobs:
            if job["until"] <= now and job["state"] == "IN_FLIGHT":
                self.bad_end(job, "PENDING")
            elif job["until"] <= now and job["state"] in ("DELAYED", "FAILED"):
                job["state"] = "PENDING"

    def bad_end(self, job: dict[str, Any], otherwise: str) -> None:
        job["chances"] -= 1
        job["state"] = otherwise if job["chances"] else "DEAD"

    def find(self, id: int) -> dict[str, Any] | None:
        return next((job for job in self.jobs if job["id"] == id), None)

    def leased(self, job: dict[str, Any], holder: int, token: str | None) -> bool:
        return job["state"] == "IN_FLIGHT" and job["holder"] == holder and token in (None, job["token"])

    def submit(self, holder: int, now: float, payload: bytes, delay_s: float, priority: int, lease_s: float,
               retries: int | None, key: str) -> object:
        for job in self.jobs:
            if key and job["key"] == key:
                return m.JobId(job["id"]) if job["payload"] == payload else "KEY_CONFLICT"
        id, chances = len(self.jobs) + 1, MAX_ATTEMPTS if retries is None else retries + 1
        self.jobs.append({"id": id, "payload": payload, "state": "DELAYED" if delay_s else "PENDING",
                          "until": now + delay_s, "priority": priority, "lease_s": lease_s or ACK_TIMEOUT_S,
                          "chances": chances, "all_chances": chances, "key": key, "attempts": 0})
        return m.JobId(id)

    def reserve(self, holder: int, now: float) -> object:
        pending = [job for job in self.jobs if job["state"] == "PENDING"]
        if not pending:
            return m.Empty()
        self.deliveries += 1
        job = min(pending, key=lambda job: (self.deliveries % OLDEST_TURN and job["priority"], job["id"]))
        job.update(state="IN_FLIGHT", holder=holder, until=now + job["lease_s"],
                   token=f"1.{self.deliveries}", attempts=job["attempts"] + 1)
        return m.Reserved(job["id"], job["payload"], job["token"], job["attempts"], job["lease_s"])

    def settle(self, holder: int, id: int, token: str | None, **change: object) -> object:
        job = self.find(id)
        if not job:
            return "NO_SUCH_JOB"
        if not self.leased(job, holder, token):
            return "STALE"
        job.update(change)
        return m.Ok()

    def ack(self, holder: int, now: float, id: int, token: str | None) -> object:
        job = self.find(id)
        if job and job["state"] == "DONE" and (token == job["token"] if token else holder == job["holder"]):
            return m.Ok()
        return self.settle(holder, id, token, state="DONE")

    def fail(self, holder: int, now: float, id: int, token: str | None) -> object:
        reply = self.settle(holder, id, token, until=now + PAUSE_S)
        if reply == m.Ok():
            self.bad_end(self.jobs[id - 1], "FAILED")
        return reply

    def touch(self, holder: int, now: float, id: int, token: str | None) -> object:
        job = self.find(id)
        return self.settle(holder, id, token, until=now + job["lease_s"] if job else 0.0)

    def release(self, holder: int, now: float, id: int, token: str | None) -> object:
        return self.settle(holder, id, token, state="PENDING")

    def kick(self, holder: int, now: float, id: int) -> object:
        job = self.find(id)
        if not job:
            return "NO_SUCH_JOB"
        if job["state"] != "DEAD":
            return "NOT_DEAD"
        job.update(state="PENDING", chances=job["all_chances"])
        return m.Ok()

    def disconnect(self, holder: int, now: float) -> object:
        for job in self.jobs:
            if self.leased(job, holder, None):
                self.bad_end(job, "PENDING")
        return m.Ok()


def new_queue() -> Queue:
    queue = Queue(ACK_TIMEOUT_S, MAX_ATTEMPTS)
    queue.backoff = lambda job: PAUSE_S
    return queue


def visible(queue: Queue) -> Any:
    """All that a client can find out, now or later, and who holds what."""
    described = [{slot: getattr(job, slot) for slot in job.__slots__ if slot != "due" or job.state in TIMED}
                 for job in [*queue.jobs.values(), *queue.finished.values()]]
    keys = {key: job.id for key, job in queue.keys.items()}
    return (sorted(described, key=lambda job: job["id"]), list(queue.finished), keys, queue.counts,
            queue.held, decide(queue, m.Stats(), 0, 0.0))


HOLDERS = st.integers(1, 3)
IDS = st.integers(1, 4)
TOKENS = st.none() | st.integers(1, 12).map("1.{}".format)
PAYLOADS = st.sampled_from([b"", b"a", b"b"])
SETTLING = st.sampled_from([m.Ack, m.Fail, m.Fail, m.Touch, m.Release])
SUBMITS = PAYLOADS.map(m.Submit) | st.builds(
    m.Submit, PAYLOADS, st.sampled_from([0.0, 0.0, 3.0]), st.integers(-1, 1), st.sampled_from([0.0, 1.0]),
    st.none() | st.integers(0, 2), st.sampled_from(["", "k", "l"]),
)


class CoreAgainstModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(lifecycle, "OLDEST_TURN", OLDEST_TURN)
        self.queue, self.model, self.now = new_queue(), Model(), 0.0
        self.records: list[m.Record] = []
        self.states: dict[int, str] = {}

    def happen(self, record: m.Record) -> None:
        before, after = TRANSITIONS[type(record)]
        assert self.states.get(record.job) == before
        self.states[record.job] = after
        apply(self.queue, record)
        self.records.append(record)

    def pass_time(self) -> None:
        while record := due(self.queue, self.now):
            self.happen(record)
        self.model.pass_time(self.now)

    def both(self, command: m.Command, answer: Callable[..., object], holder: int) -> None:
        self.pass_time()
        reply, records = decide(self.queue, command, holder, self.now)
        for record in records:
            self.happen(record)
        self.pass_time()
        expected = answer(holder, self.now, *(() if isinstance(command, m.Reserve) else command))
        assert (reply.code if isinstance(reply, m.Error) else reply) == expected

    @rule(step_s=st.sampled_from([0.5, 1.0, 4.5, 5.0, 20.0]))
    def advance(self, step_s: float) -> None:
        self.now += step_s
        self.pass_time()

    @rule(command=SUBMITS)
    def submit(self, command: m.Submit) -> None:
        self.both(command, self.model.submit, 0)

    @rule(holder=HOLDERS)
    def reserve(self, holder: int) -> None:
        self.both(m.Reserve(), self.model.reserve, holder)

    @rule(kind=SETTLING, which=IDS, with_token=st.booleans())
    def settle(self, kind: Callable[..., m.Command], which: int, with_token: bool) -> None:
        """By the one who may: what is drawn at random is mostly refused."""
        if held := [job for job in self.model.jobs if job["state"] == "IN_FLIGHT"]:
            job = held[which % len(held)]
            self.say(kind(job["id"], job["token"] if with_token else None), job["holder"])

    @rule(kind=SETTLING, named=st.tuples(IDS, TOKENS), holder=HOLDERS)
    def settle_at_random(self, kind: Callable[..., m.Command], named: tuple[int, str | None],
                         holder: int) -> None:
        self.say(kind(*named), holder)

    def say(self, command: m.Command, holder: int) -> None:
        self.both(command, getattr(self.model, type(command).__name__.lower()), holder)

    @rule(id=IDS)
    def kick(self, id: int) -> None:
        dead = [job["id"] for job in self.model.jobs if job["state"] == "DEAD"]
        self.both(m.Kick(dead[0] if dead else id), self.model.kick, 0)

    @rule(holder=HOLDERS)
    def disconnect(self, holder: int) -> None:
        self.both(m.Disconnect(), self.model.disconnect, holder)

    @invariant()
    def same_jobs(self) -> None:
        jobs = {**self.queue.jobs, **self.queue.finished}
        ours = [(id, job.state, job.attempts) for id, job in sorted(jobs.items())]
        assert ours == [(job["id"], job["state"], job["attempts"]) for job in self.model.jobs]

    @invariant()
    def counts_add_up(self) -> None:
        assert sum(self.queue.counts.values()) == self.queue.submitted == len(self.model.jobs)

    @invariant()
    def tokens_grow(self) -> None:
        tokens = [tuple(map(int, record.token.split("."))) for record in self.records
                  if isinstance(record, m.Delivered)]
        assert all(earlier < later for earlier, later in pairwise(tokens))

    @invariant()
    def nothing_is_early(self) -> None:
        assert not self.queue.timers or self.queue.timers[0][0] > self.now

    def teardown(self) -> None:
        """Recovery is apply, repeated, or a snapshot restored; and they go on as the first would have."""
        recovered, restored = new_queue(), new_queue()
        for record in self.records:
            apply(recovered, record)
        for record in snapshot(self.queue):
            apply(restored, record)
        assert visible(recovered) == visible(restored) == visible(self.queue)
        for queue in (self.queue, recovered, restored):
            self.go_on(queue)
        assert visible(recovered) == visible(restored) == visible(self.queue)
        self.patch.undo()

    def go_on(self, queue: Queue) -> None:
        """Time passes, and a worker fails all that it is given, until nothing is left."""
        now = self.now
        while queue.pending or queue.timers:
            now += 1.0
            while record := due(queue, now):
                apply(queue, record)
            for command in (m.Reserve(), m.Fail(max(queue.jobs, default=0))):
                for record in decide(queue, command, 9, now)[1]:
                    apply(queue, record)


TestCoreAgainstModel = CoreAgainstModel.TestCase
TestCoreAgainstModel.settings = settings(
    max_examples=120, stateful_step_count=40, deadline=None, database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
