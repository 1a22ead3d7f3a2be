"""The core against a naive model of what semantics promises: a list of dicts, searched from the top."""
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dsjq import messages as m
from dsjq.lifecycle import TRANSITIONS, Queue, apply, decide, due

ACK_TIMEOUT_S, MAX_ATTEMPTS = 5.0, 3


class Model:
    """Answers as a broker should; a refusal is its code alone."""

    def __init__(self) -> None:
        self.jobs: list[dict[str, Any]] = []
        self.deliveries = 0

    def pass_time(self, now: float) -> None:
        for job in self.jobs:
            if job["state"] == "IN_FLIGHT" and job["until"] <= now:
                self.bad_end(job)

    def bad_end(self, job: dict[str, Any]) -> None:
        job["state"] = "DEAD" if job["attempts"] >= job["limit"] else "PENDING"

    def find(self, id: int) -> dict[str, Any] | None:
        return next((job for job in self.jobs if job["id"] == id), None)

    def leased(self, job: dict[str, Any], holder: int, token: str | None) -> bool:
        return job["state"] == "IN_FLIGHT" and job["holder"] == holder and token in (None, job["token"])

    def submit(self, holder: int, now: float, payload: bytes) -> object:
        id = len(self.jobs) + 1
        self.jobs.append({"id": id, "payload": payload, "state": "PENDING", "attempts": 0,
                          "limit": MAX_ATTEMPTS})
        return m.JobId(id)

    def reserve(self, holder: int, now: float) -> object:
        job = next((job for job in self.jobs if job["state"] == "PENDING"), None)
        if not job:
            return m.Empty()
        self.deliveries += 1
        job.update(state="IN_FLIGHT", holder=holder, until=now + ACK_TIMEOUT_S,
                   token=f"1.{self.deliveries}", attempts=job["attempts"] + 1)
        return m.Reserved(job["id"], job["payload"], job["token"], job["attempts"], ACK_TIMEOUT_S)

    def ack(self, holder: int, now: float, id: int, token: str | None) -> object:
        job = self.find(id)
        if not job:
            return "NO_SUCH_JOB"
        if self.leased(job, holder, token):
            job["state"] = "DONE"
            return m.Ok()
        mine = token == job.get("token") if token else holder == job.get("holder")
        return m.Ok() if job["state"] == "DONE" and mine else "STALE"

    def fail(self, holder: int, now: float, id: int, token: str | None) -> object:
        job = self.find(id)
        if not job:
            return "NO_SUCH_JOB"
        if not self.leased(job, holder, token):
            return "STALE"
        self.bad_end(job)
        return m.Ok()

    def touch(self, holder: int, now: float, id: int, token: str | None) -> object:
        job = self.find(id)
        if not job:
            return "NO_SUCH_JOB"
        if not self.leased(job, holder, token):
            return "STALE"
        job["until"] = now + ACK_TIMEOUT_S
        return m.Ok()

    def kick(self, holder: int, now: float, id: int) -> object:
        job = self.find(id)
        if not job:
            return "NO_SUCH_JOB"
        if job["state"] != "DEAD":
            return "NOT_DEAD"
        job.update(state="PENDING", limit=job["attempts"] + MAX_ATTEMPTS)
        return m.Ok()

    def disconnect(self, holder: int, now: float) -> object:
        for job in self.jobs:
            if self.leased(job, holder, None):
                self.bad_end(job)
        return m.Ok()


def new_queue() -> Queue:
    return Queue(ACK_TIMEOUT_S, MAX_ATTEMPTS)


def visible(queue: Queue) -> Any:
    """All that a client can find out, and who holds what."""
    jobs = {**queue.jobs, **queue.finished}
    described = {id: (job.state, job.attempts, job.limit, job.payload, job.holder, job.token)
                 for id, job in jobs.items()}
    return described, queue.counts, queue.held, decide(queue, m.Stats(), 0, 0.0)


HOLDERS = st.integers(1, 3)
IDS = st.integers(1, 6)
TOKENS = st.none() | st.integers(1, 12).map("1.{}".format)
PAYLOADS = st.sampled_from([b"", b"a", b"b"])
NAMED = st.tuples(IDS, TOKENS)


class CoreAgainstModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
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

    @rule(payload=PAYLOADS)
    def submit(self, payload: bytes) -> None:
        self.both(m.Submit(payload), self.model.submit, 0)

    @rule(holder=HOLDERS)
    def reserve(self, holder: int) -> None:
        self.both(m.Reserve(), self.model.reserve, holder)

    @rule(holder=HOLDERS, named=NAMED)
    def ack(self, holder: int, named: tuple[int, str | None]) -> None:
        self.both(m.Ack(*named), self.model.ack, holder)

    @rule(holder=HOLDERS, named=NAMED)
    def fail(self, holder: int, named: tuple[int, str | None]) -> None:
        self.both(m.Fail(*named), self.model.fail, holder)

    @rule(holder=HOLDERS, named=NAMED)
    def touch(self, holder: int, named: tuple[int, str | None]) -> None:
        self.both(m.Touch(*named), self.model.touch, holder)

    @rule(id=IDS)
    def kick(self, id: int) -> None:
        self.both(m.Kick(id), self.model.kick, 0)

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

    def teardown(self) -> None:
        """Recovery is apply, repeated; and the recovered queue goes on as the first would have."""
        recovered = new_queue()
        for record in self.records:
            apply(recovered, record)
        assert visible(recovered) == visible(self.queue)
        for queue in (self.queue, recovered):
            while record := due(queue, self.now + 100.0):
                apply(queue, record)
        assert visible(recovered) == visible(self.queue)


TestCoreAgainstModel = CoreAgainstModel.TestCase
TestCoreAgainstModel.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
