"""Histories that a correct queue could have brought about: clients, a network and a lab on a virtual clock.

Everything takes its time, and some things too much of it: a request may be carried out long after its client
gave up, a reply come too late or never, a client be stopped between any two steps. Processes die with an
operation in the air, the broker with all its connections. Only what observers would have seen is written
down, as they would have seen it: the history of a `Plan` depends on nothing else.

    history = generate(plan(seed=7))                    # of a correct queue
    history = generate(plan(seed=7), LastInFirstOut)    # of one with a bug
"""

import heapq
import itertools
import random
from collections.abc import Callable, Generator
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from simulated_queue import Job, Queue, Reply, Rules

from dsjq_lab.history import Header, History, Op

Value = dict[str, Any]
Story = Generator[float, Any, Any]  # a process: yields for how long it waits, gets what woke it before
Answer = Callable[[Reply], None]
FINISH_WITHIN_MS = 120_000
TOLERANCE_MS = 1000


class Plan(NamedTuple):
    """What is to happen. Times are milliseconds."""

    seed: int
    format: int = 2
    tokens: bool = True  # as the reference has them; without: a black box
    core: bool = False  # a black box that is known for one: nobody greets it
    durable: bool = False  # whether a broker that died comes back with its jobs
    max_attempts: int | None = None
    ack_timeout: float = 1000.0
    jobs: int = 8
    workers: int = 3
    producers: int = 2
    work: float = 0.1  # of an ack timeout, at the middle
    renew: bool = False
    effect: str | None = None  # append, idempotent or fenced
    fail_rate: float = 0.0
    release_rate: float = 0.0  # where there is RELEASE
    backoff: float = 0.0  # the longest pause before a retry; a black box has none
    retries: bool = False  # whether a SUBMIT of unknown outcome is tried again
    keyed: bool = False  # whether it has a key: then it is tried again in any case
    delay: float = 0.0  # the longest that a job is put with
    priorities: int = 1
    slow: float = 0.02  # how many of the messages take long
    refusals: float = 0.0
    cuts: int = 0  # connections that the network cuts
    faults: tuple[str, ...] = ()
    mishap: bool = False  # a worker ends that nobody struck


FAULTS = ("kill worker", "pause worker", "term worker", "kill broker", "pause broker", "missed")
OF_THE_DISK = ("power_loss broker", "fsync_error broker")


def plan(seed: int) -> Plan:
    return plan_by_lot(random.Random(f"plan {seed}"))


def plan_by_lot(dice: random.Random) -> Plan:
    tokens = dice.random() < 0.7
    durable = dice.random() < 0.5
    faults = [fault for fault in FAULTS if durable or fault != "kill broker" or dice.random() < 0.3]
    faults += OF_THE_DISK if durable else ()
    return Plan(
        seed=dice.randint(0, 1_000_000_000),
        format=dice.choice((1, 2, 2, 2)),
        tokens=tokens,
        core=not tokens and dice.random() < 0.5,
        durable=durable,
        max_attempts=dice.choice((2, 3, 5)) if dice.random() < (0.7 if tokens else 0.2) else None,
        ack_timeout=dice.choice((300.0, 1000.0)),
        jobs=dice.randint(1, 14) if dice.random() < 0.9 else 40,
        workers=dice.randint(1, 4),
        producers=dice.randint(1, 3),
        work=dice.choice((0.001, 0.05, 0.4, 0.8)),
        renew=dice.random() < 0.3,
        effect=dice.choice((None, "append", "idempotent", "fenced")),
        fail_rate=dice.choice((0.0, 0.0, 0.1, 0.3)),
        retries=dice.random() < 0.3,
        slow=dice.choice((0.0, 0.0, 0.02, 0.1)),
        refusals=dice.choice((0.0, 0.0, 0.2)),
        cuts=dice.choice((0, 0, 3)),
        faults=tuple(dice.choices(faults, k=dice.choice((0, 0, 1, 3, 6)))),
        mishap=dice.random() < 0.02,
        keyed=dice.random() < 0.3,
        delay=dice.choice((0.0, 0.0, 100.0, 1000.0)),
        priorities=dice.choice((1, 1, 2, 3)),
        release_rate=dice.choice((0.0, 0.3)),
        backoff=dice.choice((0.0, 0.0, 300.0)),
    )


def generate(plan: Plan, queue: type[Queue] = Queue) -> History:
    return World(plan, queue).run()


def excused(plan: Plan) -> set[str]:
    """What even a correct queue does not promise: memory dies with its process, and work is done again."""
    volatile = not plan.durable and "kill broker" in plan.faults
    lost = {"no_lost_job", "everything_finishes"} if volatile else set()
    return lost | ({"effect_once"} if plan.effect in ("append", "fenced") else set())


class World:
    """The clock, the dice, the history, and everybody in it."""

    def __init__(self, plan: Plan, queue: type[Queue]) -> None:
        self.plan, self.dice = plan, random.Random(f"world {plan.seed}")
        self.now = 0.0
        self.moments: list[tuple[float, int, Callable[[], None]]] = []
        self.numbers = itertools.count()
        self.ops: list[Op] = []
        self.broker = Broker(self, queue)
        self.ledger: dict[str, list[str | None]] = {}  # nonce -> the tokens of its effects
        self.clients: dict[str, Client] = {}
        self.over = False

    def run(self) -> History:
        self.play(Lab(self).conduct())
        while not self.over:
            self.now, _, action = heapq.heappop(self.moments)
            action()
        self.ops.sort(key=lambda op: op.time_ns)
        ops = [op._replace(index=index) for index, op in enumerate(self.ops)]
        plan = self.plan
        options = {"core": True} if plan.core else {}
        header = Header(
            plan.format, "0.1.0", "generated", "-", plan.seed, "dsjq" if plan.tokens else "a black box", 0,
            ns(plan.ack_timeout), plan.max_attempts, ns(FINISH_WITHIN_MS), ns(TOLERANCE_MS),
            ns(plan.backoff if plan.tokens else 0.0), plan.durable, options,
        )  # fmt: skip
        return History(header, ops, truncated=False)

    def at(self, delay: float, action: Callable[[], None]) -> None:
        heapq.heappush(self.moments, (self.now + delay, next(self.numbers), action))

    def play(self, story: Story) -> None:
        """Lets a story go on that waits for nothing but time."""
        for delay in story:
            self.at(delay, partial(self.play, story))
            return

    def record(self, process: str, type: str, f: str, value: Value, error: str | None = None) -> None:
        self.ops.append(Op(0, ns(self.now), process, type, f, value, error))

    def moment(self) -> float:
        """How long a step takes that ought to take no time."""
        return self.dice.uniform(0.01, 0.5)

    def travel(self) -> float:
        """How long a message takes. A long one outlasts its client's patience, but not the tolerance."""
        slow = self.dice.random() < self.plan.slow
        return self.dice.uniform(0, 0.6) * self.plan.ack_timeout if slow else self.dice.uniform(0.05, 2)

    def effect(self, worker: "Client", job: Value) -> bool:
        """Whether the lab's ledger took it."""
        nonce, token, kind = job["job"], job["token"], self.plan.effect
        before = self.ledger.setdefault(nonce, [])
        stale = kind == "fenced" and token and any(old and number(old) > number(token) for old in before)
        refused = "it is written already" if kind == "idempotent" and before else "STALE" if stale else None
        if not refused:
            before.append(token)
        value = {"job": nonce, "id": job["id"], "token": token, "worker": worker.name,
                 "conn": job["conn"], "kind": kind}  # fmt: skip
        self.record("ledger", "fail" if refused else "ok", "effect", value, refused)
        return not stale


def ns(ms: float) -> int:
    return round(ms * 1e6)


def number(token: str) -> list[int]:
    return [int(part) for part in token.split(".")]


# -- The broker and the network ---------------------------------------------------------------------------


class Broker:
    """One queue, over all the lives of its process."""

    def __init__(self, world: World, queue: type[Queue]) -> None:
        self.world, self.queue_type = world, queue
        self.life = 0
        self.alive = self.frozen = False
        self.conns: dict[Conn, None] = {}
        self.leaked = 0
        self.inbox: list[Callable[[], None]] = []  # came while it was frozen
        self.parked: list[tuple[float, Conn, Answer]] = []  # requests that wait for a job
        self.synced = 0.0  # when the disk last took something
        self.disk_fails = False  # the next time that it is asked to
        self.sync_failed: Value = {}  # as the lab will tell it
        self.queue = self.empty_queue()

    def empty_queue(self) -> Queue:
        plan = self.world.plan
        backoff = plan.backoff if plan.tokens else 0.0
        rules = Rules(
            plan.tokens, plan.ack_timeout, TOLERANCE_MS, plan.max_attempts, plan.refusals, backoff
        )
        return self.queue_type(rules, self.world.dice, lambda: self.world.now, self.trace)

    def trace(self, record: str, job: Job) -> None:
        if self.world.plan.tokens and self.alive:
            value = {"record": record, "job": int(job.id), "token": job.token}
            self.world.record("broker", "info", "record", value)

    def start(self) -> None:
        self.life += 1
        self.alive = True
        if self.world.plan.tokens:
            self.world.record("broker", "info", "start", {"incarnation": self.life})

    def die(self, power_lost: bool = False) -> None:
        self.alive = False
        for conn in self.conns:
            conn.hang_up()
        self.conns.clear()
        self.parked.clear()
        self.inbox.clear()
        if self.world.plan.durable:
            self.queue.recover(power_lost)
        else:
            self.queue = self.empty_queue()

    def thaw(self) -> None:
        self.frozen = False
        for action in self.inbox:
            action()
        self.inbox.clear()

    def arrive(self, conn: "Conn", command: str, args: tuple[Any, ...], answer: Answer) -> None:
        if self.frozen:
            self.inbox.append(partial(self.arrive, conn, command, args, answer))
        elif conn in self.conns:
            self.execute(conn, command, args, answer)
            self.serve_parked()

    def execute(self, conn: "Conn", command: str, args: tuple[Any, ...], answer: Answer) -> None:
        if command == "hello":
            answer(Reply("ok") if self.world.plan.tokens else Reply("fail", error="ERROR UNKNOWN_COMMAND"))
            return
        if command == "stats" and not self.world.plan.tokens:
            answer(Reply("fail", error="ERROR UNKNOWN_COMMAND"))
            return
        reply = getattr(self.queue, command)(conn, *args)
        if reply.type == "ok" and command in ("submit", "ack", "fail", "release") and not self.sync():
            self.die()
            return
        wait = self.world.plan.ack_timeout / 8
        if reply.value.get("empty") and self.world.plan.tokens:
            self.parked.append((self.world.now + wait, conn, answer))
            self.world.at(wait, self.serve_parked)
        else:
            answer(reply)
        if reply.value.get("id"):
            self.world.at(self.queue.rules.ack_timeout, self.serve_parked)

    def sync(self) -> bool:
        """Whether the broker takes it for done."""
        if not self.disk_fails:
            self.synced = self.world.now
            return True
        self.disk_fails = False
        self.sync_failed = {"covers_from_ns": ns(self.synced), "failed_ns": ns(self.world.now)}
        return hasattr(self.queue, "trusts")

    def serve_parked(self) -> None:
        if not self.frozen:
            parked, self.parked = self.parked, []
            for until, conn, answer in parked:
                reply = self.queue.reserve(conn)
                if reply.value.get("empty") and self.world.now < until:
                    self.parked.append((until, conn, answer))
                else:
                    answer(reply)

    def lose(self, conn: "Conn") -> None:
        """The end of the connection arrives."""
        if self.frozen:
            self.inbox.append(partial(self.lose, conn))
        elif conn in self.conns:
            del self.conns[conn]
            self.leaked += self.queue.leaks
            self.parked = [parked for parked in self.parked if parked[1] is not conn]
            self.queue.disconnect(conn)
            self.serve_parked()

    def resources(self, moment: str) -> None:
        size = len(self.conns) + self.leaked
        value = {"victim": "broker", "moment": moment, "incarnation": self.life, "threads": 2 + size,
                 "descriptors": 6 + size, "resident_bytes": 20_000_000 + 1000 * size}  # fmt: skip
        self.world.record("lab", "info", "resources", value)


class Conn:
    """A connection: two streams, in each of which nothing overtakes."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.up = self.down = 0.0  # when the last message arrived, at the broker and at the client
        self.cut = False  # by the network, or by the end of the broker
        self.ended = ""  # what the client hears of that, once it does
        self.waiting: Answer = lambda reply: None
        world.broker.conns[self] = None

    def ask(self, command: str, args: tuple[Any, ...], wake: Answer) -> None:
        self.waiting = wake
        if self.ended:
            self.world.at(self.world.moment(), partial(wake, Reply("info", error=self.ended)))
        elif not self.cut:
            broker = self.world.broker
            self.up = self.send(self.up, partial(broker.arrive, self, command, args, self.answer))

    def answer(self, reply: Reply) -> None:
        if not self.cut:
            waiting = self.waiting  # of a client that gave up: it will not listen
            self.down = self.send(self.down, lambda: waiting(reply))

    def hang_up(self) -> None:
        """Nothing more comes through; the client hears of it after what is under way already."""
        if not self.cut:
            self.cut = True
            self.down = self.send(self.down, self.end)

    def end(self) -> None:
        self.ended = self.world.dice.choice(("eof", "reset"))
        self.waiting(Reply("info", error=self.ended))

    def close(self) -> None:
        """By the client, or with it."""
        self.cut = True
        self.up = self.send(self.up, partial(self.world.broker.lose, self))

    def send(self, after: float, arrive: Callable[[], None]) -> float:
        arrival = max(after, self.world.now + self.world.travel())
        self.world.at(arrival - self.world.now, arrive)
        return arrival


# -- Clients ----------------------------------------------------------------------------------------------


class Stopped(Exception):
    """The lab wants this client to finish."""


class Client:
    """One process. What it does is a generator, woken by time or by a reply, whichever is first."""

    def __init__(self, world: World, name: str, incarnation: int, left: list[str]) -> None:
        self.world, self.name, self.incarnation, self.left = world, name, incarnation, left
        self.plan, self.dice = world.plan, world.dice
        self.alive, self.frozen, self.stop_asked = True, False, False
        self.connections = 0
        self.conn: Conn | None = None
        self.empty_since: float | None = None
        self.missed: list[tuple[int, Reply | None]] = []  # what would have woken it while it was frozen
        self.wait = 0  # the number of its present wait: what belongs to another comes too late
        role = {"worker": self.work, "producer": self.produce, "auditor": self.audit}[name.split(" ")[0]]
        self.story = self.live(role)
        world.at(world.moment(), partial(self.wake, 0))

    def wake(self, wait: int, reply: Reply | None = None) -> None:
        if self.frozen:
            self.missed.append((wait, reply))
        elif self.alive and wait == self.wait:
            self.wait += 1
            try:
                delay = self.story.send(reply if wait else None)
            except StopIteration:
                self.alive = False
            else:
                self.world.at(delay, partial(self.wake, self.wait))

    def thaw(self) -> None:
        self.frozen = False
        self.dice.shuffle(self.missed)  # time-out and reply both came: it may look at either first
        missed, self.missed = self.missed, []
        for wait, reply in missed:
            self.wake(wait, reply)

    def die(self) -> None:
        self.alive = False
        if self.conn:
            self.conn.close()

    # Its life

    def live(self, role: Callable[[], Story]) -> Story:
        with suppress(Stopped):
            yield from role()
        with suppress(Stopped):
            if self.name == "auditor" and self.plan.tokens:
                yield from self.list_dead()
        if self.conn:
            self.record("info", "close", {"conn": self.conn.name})
            yield self.world.moment()
            self.conn.close()

    def pause(self, ms: float) -> Story:
        while ms > 0 and not self.stop_asked:
            yield min(ms, 50.0)
            ms -= 50.0
        if self.stop_asked:
            raise Stopped

    def work(self) -> Story:
        while True:
            yield from self.pause(self.world.moment())
            reply = yield from self.operate("reserve", {})
            if reply.type == "ok" and reply.value.get("empty"):
                self.empty_since = self.empty_since or self.world.now
                yield from self.pause(0 if self.plan.tokens else 50)
                continue
            self.empty_since = None
            if reply.type == "ok":
                yield from self.handle(reply.value | {"conn": self.conn.name})

    def handle(self, job: Value) -> Story:
        left = self.plan.work * self.dice.uniform(0.5, 1.5) * self.plan.ack_timeout
        token = job["token"]
        while self.plan.renew and self.plan.tokens and left > self.plan.ack_timeout / 3:
            yield self.plan.ack_timeout / 3
            left -= self.plan.ack_timeout / 3
            reply = yield from self.settle("touch", job, token)
            if reply.type != "ok":
                return
        yield left
        if self.plan.effect:
            yield self.world.moment()
            if not self.world.effect(self, job):
                return
            yield self.world.moment()
        f = "fail" if self.dice.random() < self.plan.fail_rate else "ack"
        if self.plan.tokens and self.dice.random() < self.plan.release_rate:
            f = "release"
        token = self.dice.choice((token, token, None))
        reply = yield from self.settle(f, job, token)
        if self.dice.random() < 0.05 and (reply.type != "info" or token):
            if self.dice.random() < 0.5:
                yield self.dice.uniform(0, 2) * self.plan.ack_timeout
            yield from self.settle(f, job, token)  # says it twice; with a token, on another connection too

    def settle(self, f: str, job: Value, token: str | None) -> Story:
        value = {"job": job["job"], "id": job["id"], "token": token}
        return (yield from self.operate(f, value, job["id"], token))

    def produce(self) -> Story:
        words = ("naïve", "  ", "x", "--", "100%", "\t")
        for job in list(self.left):
            yield from self.pause(self.dice.uniform(0, 60))
            payload = " ".join([job, *self.dice.choices(words, k=self.dice.randint(0, 4))])
            terms, tries = self.terms(job), 0
            while self.left and self.left[0] == job:
                asked = {"job": job, "payload": payload, **terms}
                reply = yield from self.operate("submit", asked, payload, terms)
                tries += 1
                unsure = reply.type == "info" and (self.plan.retries or "key" in terms) and tries < 3
                if not unsure and not str(reply.error).startswith("UNREACHABLE"):
                    self.left.remove(job)

    def terms(self, job: str) -> Value:
        """A black box knows none."""
        plan = self.plan
        if not plan.tokens:
            return {}
        terms = {"key": job} if plan.keyed else {}
        if plan.delay and self.dice.random() < 0.5:
            terms["delay_s"] = self.dice.uniform(0, plan.delay) / 1000
        return terms | ({"priority": self.dice.randrange(plan.priorities)} if plan.priorities > 1 else {})

    def audit(self) -> Story:
        dead = 0
        while True:
            stats = yield from self.operate("stats", {})
            if stats.type == "ok" and stats.value["dead"] != dead:
                dead = stats.value["dead"]
                listed = yield from self.list_dead()
                if listed and self.dice.random() < 0.3:
                    victim = self.dice.choice(listed)
                    value = {"id": victim["id"], "job": victim["payload"].split(" ")[0]}
                    yield from self.operate("kick", value, victim["id"])
            refused = stats.type == "fail" and not str(stats.error).startswith("UNREACHABLE")
            yield from self.pause(100_000 if refused else 250)

    def list_dead(self) -> Story:
        listed: list[Value] = []
        page: list[Value] = [{"id": "0"}]
        while page:
            reply = yield from self.operate("dead", {}, page[-1]["id"])
            page = reply.value.get("dead", [])
            listed += page
        return listed

    # How it asks

    def operate(self, f: str, asked: Value, *args: Any) -> Story:
        """Asks, and returns what it makes of the reply. Everything is written down."""
        old, fresh = self.plan.format == 1, self.conn is None  # format 1 knows no `connect`
        if fresh:
            self.connections += 1
            name = f"{self.name}/{self.incarnation}.{self.connections}"
            if old:
                self.record("invoke", f, {**asked, "conn": name})
            reply = yield from self.connect(name)
            if reply.type == "fail":
                if old:
                    self.record("fail", f, {**asked, "conn": name}, reply.error)
                yield from self.pause(100)
                return reply
        if not (old and fresh):
            self.record("invoke", f, {**asked, "conn": self.conn.name})
        yield self.world.moment()
        reply = yield from self.ask(self.conn, f, args)
        yield self.world.moment()
        value = {**asked, **reply.value, "conn": self.conn.name}
        self.record(reply.type, f, value, reply.error)
        if reply.type == "info":
            conn, self.conn = self.conn, None
            yield self.world.moment()
            conn.close()
            yield from self.pause(20)
        return reply

    def connect(self, name: str) -> Story:
        recorded = self.plan.format == 2
        if recorded:
            self.record("invoke", "connect", {"conn": name})
        yield self.world.moment()
        if not self.world.broker.alive:
            reply = Reply("fail", error="UNREACHABLE refused")
        else:
            self.conn = Conn(self.world, name)
            reply = Reply("ok", {"greeting": None})
            if not self.plan.core:
                reply = yield from self.ask(self.conn, "hello", ())
                greeting = {"ok": "OK", "fail": str(reply.error)}.get(reply.type)
                reply = Reply("ok", {"greeting": greeting})
                if greeting is None:
                    reply = Reply("fail", error="UNREACHABLE timeout")
                    self.conn.close()
                    self.conn = None
        yield self.world.moment()
        if recorded:
            self.record(reply.type, "connect", {"conn": name, **reply.value}, reply.error)
        return reply

    def ask(self, conn: Conn, command: str, args: tuple[Any, ...]) -> Story:
        conn.ask(command, args, partial(self.wake, self.wait))
        reply = yield 0.45 * self.plan.ack_timeout
        return reply or Reply("info", error="timeout")

    def record(self, type: str, f: str, value: Value, error: str | None = None) -> None:
        self.world.record(self.name, type, f, value, error)


# -- The lab ----------------------------------------------------------------------------------------------


class Lab:
    """Starts everybody, strikes, waits until all is quiet, and says how it was."""

    def __init__(self, world: World) -> None:
        self.world, self.plan, self.dice = world, world.plan, world.dice
        self.incarnations: dict[str, int] = {}
        self.faults = itertools.count(1)
        self.stories = 0  # faults that have not ended
        self.struck: set[str] = set()  # victims of the present faults: one at a time
        self.mishap = ""

    def conduct(self) -> Story:
        world, plan = self.world, self.plan
        yield from self.start_broker()
        if plan.tokens or not plan.core:
            self.start("auditor")
        for n in range(plan.workers):
            self.start(f"worker {n + 1}")
        for n in range(plan.producers):
            self.start(f"producer {n + 1}", [f"j{job}" for job in range(n, plan.jobs, plan.producers)])
        for fault in plan.faults:
            self.stories += 1
            world.at(self.dice.uniform(0, 1500), partial(world.play, self.fault(fault)))
        for _ in range(plan.cuts):
            world.at(self.dice.uniform(0, 1500), partial(world.play, self.cut()))
        if plan.mishap:
            world.play(self.crash())
        calm = world.now
        while not (drained := self.is_quiet()) and world.now < calm + FINISH_WITHIN_MS + 1000:
            if self.stories or any(client.left for client in world.clients.values()):
                calm = world.now
            yield 50.0
        yield from self.dismiss()
        why = "" if drained else "not at rest"
        world.broker.resources("end")
        world.record("lab", "info", "end", {
            "drained": drained, "why": self.mishap or why, "healthy": not self.mishap, "epsilon_ns": ns(5),
        })  # fmt: skip
        world.over = True

    def is_quiet(self) -> bool:
        """All is said and done, and every worker has seen an empty queue for longer than a lease lasts."""
        world = self.world
        if self.stories or world.broker.queue.left():
            return False
        if any(client.alive and client.left for client in world.clients.values()):
            return False
        long = self.plan.ack_timeout + TOLERANCE_MS
        workers = [c for c in world.clients.values() if c.alive and c.name.startswith("worker")]
        return all(c.empty_since is not None and world.now - c.empty_since > long for c in workers)

    def dismiss(self) -> Story:
        clients = list(self.world.clients.values())
        alive = [client for client in clients if client.alive]
        for client in alive:
            client.stop_asked = True
        while any(client.alive for client in clients):
            yield 10.0
        for client in alive:
            self.exit(client.name, 0, planned=True)
        while self.world.broker.conns:
            yield 10.0

    def start(self, name: str, left: list[str] | None = None) -> None:
        self.incarnations[name] = self.incarnations.get(name, 0) + 1
        before = self.world.clients.get(name)
        left = left or (before.left if before else [])
        self.world.clients[name] = Client(self.world, name, self.incarnations[name], left)

    def start_broker(self) -> Story:
        self.world.broker.start()
        yield self.dice.uniform(0, 20)
        self.log("broker_ready", {"incarnation": self.world.broker.life})
        self.world.broker.resources("ready")

    def exit(self, victim: str, status: int, planned: bool) -> None:
        self.log("exit", {"victim": victim, "status": status, "planned": planned})

    def log(self, f: str, value: Value) -> None:
        self.world.record("lab", "info", f, value)

    # Faults

    def fault(self, fault: str) -> Story:
        verb, _, role = fault.partition(" ")
        victim = role if role == "broker" else f"worker {self.dice.randint(1, self.plan.workers)}"
        if victim not in self.struck and (victim == "broker" or self.world.clients[victim].alive):
            self.struck.add(victim)
            number = next(self.faults)
            say = partial(self.nemesis, number, verb, victim)
            if verb == "missed":
                say = partial(self.nemesis, number, "kill", victim)
            say("begin")
            yield self.world.moment()
            yield from getattr(self, f"{verb}_{role or 'nobody'}")(victim, say)
            self.struck.remove(victim)
        self.stories -= 1

    def nemesis(self, fault: int, verb: str, victim: str, phase: str, **more: Any) -> None:
        value = {"fault": fault, "victim": victim, "phase": phase, "exact": False, **more}
        self.world.record("nemesis", "info", verb, value)

    def kill_worker(self, victim: str, say: Callable[[str], None]) -> Story:
        self.world.clients[victim].die()
        yield self.world.moment()
        yield from self.bury(victim, -9, say)

    def term_worker(self, victim: str, say: Callable[[str], None]) -> Story:
        client = self.world.clients[victim]
        client.stop_asked = True
        while client.alive:
            yield 10.0
        yield from self.bury(victim, 0, say)

    def bury(self, victim: str, status: int, say: Callable[[str], None]) -> Story:
        self.exit(victim, status, planned=True)
        say("struck")
        yield self.dice.uniform(0, 500)
        self.start(victim)
        yield self.world.moment()
        say("end")

    def pause_worker(self, victim: str, say: Callable[[str], None]) -> Story:
        yield from self.pause(self.world.clients[victim], say)

    def pause_broker(self, victim: str, say: Callable[[str], None]) -> Story:
        yield from self.pause(self.world.broker, say)

    def pause(self, process: Client | Broker, say: Callable[[str], None]) -> Story:
        process.frozen = True
        yield self.world.moment()
        say("struck")
        yield self.dice.uniform(0, 2.5) * self.plan.ack_timeout
        process.thaw()
        yield self.world.moment()
        say("end")

    def kill_broker(self, victim: str, say: Callable[[str], None]) -> Story:
        self.world.broker.die()
        yield from self.bury_broker(-9, say)

    def power_loss_broker(self, victim: str, say: Callable[[str], None]) -> Story:
        self.world.broker.die(power_lost=True)
        yield from self.bury_broker(-9, say)

    def fsync_error_broker(self, victim: str, say: Callable[..., None]) -> Story:
        broker, until = self.world.broker, self.world.now + 1000
        broker.disk_fails = True
        while broker.disk_fails and self.world.now < until:
            yield 10.0
        if broker.disk_fails:
            broker.disk_fails = False
            say("missed")
        elif broker.alive:
            say("struck", **broker.sync_failed)
            say("end")
        else:
            yield from self.bury_broker(74, partial(say, **broker.sync_failed))

    def bury_broker(self, status: int, say: Callable[[str], None]) -> Story:
        yield self.world.moment()
        self.exit("broker", status, planned=True)
        say("struck")
        yield self.dice.uniform(0, 500)
        yield from self.start_broker()
        yield self.world.moment()
        say("end")

    def missed_nobody(self, victim: str, say: Callable[[str], None]) -> Story:
        say("missed")
        yield 0

    def cut(self) -> Story:
        """The network cuts a connection; the broker hears of it after the client, or soon."""
        client = self.dice.choice(list(self.world.clients.values()))
        if client.alive and client.conn and client.name not in self.struck:
            self.struck.add(client.name)  # nothing else happens to it before it has noticed
            conn = client.conn
            conn.end()
            conn.close()
            while client.alive and client.conn is conn:
                yield 10.0
            self.struck.remove(client.name)

    def crash(self) -> Story:
        yield self.dice.uniform(0, 1000)
        victim = f"worker {self.plan.workers}"
        if self.plan.workers > 1 and victim not in self.struck and self.world.clients[victim].alive:
            self.struck.add(victim)
            self.mishap = f"{victim} ended by itself, status 1"
            self.world.clients[victim].die()
            yield self.world.moment()
            self.exit(victim, 1, planned=False)
