"""Histories told in a few lines: a story of calls on a clock of milliseconds, in which each call takes 1 ms.

    told = Told()
    told.submit("a")                        # job "a", confirmed with id "a"
    told.reserve("worker 1", "a")           # on the connection "worker 1/1"
    told.ack("worker 1", "a")
    told.end()
    verdicts = judge(told.model())

`outcome="info", error="eof"` changes how a call ends, `outcome=None` lets its client be killed in it;
`at=(5, 9)` says when it was invoked and when it returned, and `told.now_ms = 50` lets time pass.
"""

from pathlib import Path
from typing import Any

from dsjq_lab.checkers import judge
from dsjq_lab.history import Header, History, Op
from dsjq_lab.model import Model
from dsjq_lab.reading import MORTAL
from dsjq_lab.verdict import Verdict

MS = 1_000_000


class Told:
    def __init__(
        self,
        ack_timeout_ms: int = 100,
        finish_within_ms: int = 1000,
        max_attempts: int | None = 10,
        tolerance_ms: int = 50,
        backoff_ms: int = 0,
        durable: bool = False,
    ) -> None:
        self.header = Header(
            format=2,
            lab="0.1.0",
            scenario="told",
            scenario_hash="-",
            seed=7,
            broker="dsjq",
            start_ns=0,
            ack_timeout_ns=ack_timeout_ms * MS,
            max_attempts=max_attempts,
            finish_within_ns=finish_within_ms * MS,
            tolerance_ns=tolerance_ms * MS,
            backoff_ns=backoff_ms * MS,
            durable=durable,
        )
        self.now_ms = 0
        self.lives: dict[str, int] = {}  # process -> which of its connections it uses
        self.faults = 0
        self.incarnations = 0
        self.ops: list[Op] = []

    # Clients

    def submit(self, payload: str, id: str | None = None, process: str = "producer 1", **how: Any) -> None:
        terms = {name: how.pop(name) for name in ("key", "priority", "delay_s") if name in how}
        asked = {"payload": payload, **terms}
        self._call(process, "submit", asked, {"id": id or payload.split(" ")[0]}, **how)

    def connect(self, process: str, greeting: str | None = "OK", **how: Any) -> None:
        self._call(process, "connect", {}, {"greeting": greeting}, **how)

    def reserve(
        self,
        process: str,
        payload: str,
        id: str | None = None,
        token: str | None = None,
        attempt: int | None = None,
        **how: Any,
    ) -> None:
        job = {"id": id or payload.split(" ")[0], "payload": payload, "token": token, "attempt": attempt}
        self._call(process, "reserve", {}, job, **how)

    def empty(self, process: str, **how: Any) -> None:
        self._call(process, "reserve", {}, {"empty": True}, **how)

    def ack(self, process: str, id: str, **how: Any) -> None:
        self._settle("ack", process, id, **how)

    def fail(self, process: str, id: str, **how: Any) -> None:
        self._settle("fail", process, id, **how)

    def release(self, process: str, id: str, **how: Any) -> None:
        self._settle("release", process, id, **how)

    def touch(self, process: str, id: str, **how: Any) -> None:
        self._settle("touch", process, id, **how)

    def close(self, process: str) -> None:
        self._op(process, "info", "close", {"conn": self.conn(process)})
        self.reconnect(process)

    def reconnect(self, process: str) -> None:
        self.lives[process] = self.lives.get(process, 1) + 1

    def conn(self, process: str) -> str:
        return f"{process}/{self.lives.get(process, 1)}"

    # Faults, the lab, the auditor

    def fault(self, verb: str, victim: str, *phases: str) -> None:
        """Without phases: all three, at once."""
        if "begin" in phases or not phases:
            self.faults += 1
        for phase in phases or ("begin", "struck", "end"):
            value = {"fault": self.faults, "victim": victim, "phase": phase, "exact": True}
            self._op("nemesis", "info", verb, value)
        if verb in MORTAL:
            self.reconnect(victim)

    def failed_sync(self, covers_from_ms: int) -> None:
        self.fault("fsync_error", "broker", "begin")
        value = {"fault": self.faults, "victim": "broker", "phase": "struck", "exact": True}
        self._op("nemesis", "info", "fsync_error", value | {"covers_from_ns": covers_from_ms * MS})

    def exit(self, victim: str, planned: bool = False) -> None:
        self._op("lab", "info", "exit", {"victim": victim, "status": 1, "planned": planned})
        self.reconnect(victim)

    def broker_ready(self) -> None:
        self.incarnations += 1
        self._op("lab", "info", "broker_ready", {"incarnation": self.incarnations})

    def resources(self, moment: str, threads: int = 5, descriptors: int = 9) -> None:
        used = {"threads": threads, "descriptors": descriptors, "resident_bytes": 1 << 24}
        value = {"victim": "broker", "moment": moment, "incarnation": self.incarnations, **used}
        self._op("lab", "info", "resources", value)

    def dead(self, *payloads: str, **how: Any) -> None:
        jobs = [{"id": payload.split(" ")[0], "payload": payload} for payload in payloads]
        self._call("auditor", "dead", {}, {"dead": jobs}, **how)

    def kick(self, job: str, **how: Any) -> None:
        self._call("auditor", "kick", {"id": job, "job": job}, {}, **how)

    def intrude(self, question: str, reply: str, standing: str = "before AUTH", **how: Any) -> None:
        asked = {"standing": standing, "question": question}
        self._call("stranger 1", "intrude", asked, {"reply": reply}, **how)

    def bind(self, process: str, **patterns: list[str]) -> None:
        self._call(process, "bind", {"question": "BIND", "patterns": patterns}, {})

    def publish(self, process: str, copy: str, key: str, *ids: str, **how: Any) -> None:
        asked = {"question": f"PUBLISH {key}", "copy": copy, "key": key}
        self._call(process, "publish", asked, {"ids": list(ids) or None}, **how)

    def take(self, process: str, queue: str, copy: str = "", id: str = "", **how: Any) -> None:
        got = {"job": copy, "payload": copy, "id": id} if copy else {"empty": True}
        self._call(process, "take", {"question": "RESERVE", "queue": queue}, got, **how)

    def taken(self, process: str, queue: str, copy: str, **how: Any) -> None:
        self._call(process, "taken", {"question": "ACK", "queue": queue, "copy": copy}, {}, **how)

    def stats(self, submitted: int, **states: int) -> None:
        none = dict.fromkeys(("pending", "in_flight", "failed", "done", "dead"), 0)
        self._call("auditor", "stats", {}, {"submitted": submitted, **none, **states})

    # The ledger, and the broker's own trace

    def effect(self, worker: str, job: str, kind: str = "append", id: str = "1", kept: bool = True) -> None:
        value = {"job": job, "id": id, "token": None, "worker": worker, "conn": self.conn(worker)}
        value["kind"] = kind
        self._op("ledger", "ok" if kept else "fail", "effect", value, None if kept else "STALE token")

    def trace_start(self, *kept: int) -> None:
        self._op("broker", "info", "start", {"incarnation": self.incarnations, "jobs": list(kept)})

    def trace(self, job: int, *records: str) -> None:
        for record in records:
            self._op("broker", "info", "record", {"record": record, "job": job})

    def end(
        self, drained: bool = True, healthy: bool = True, why: str = "drained", decided: bool = False
    ) -> None:
        value = {"drained": drained, "why": why, "healthy": healthy, "epsilon_ns": 0, "decided": decided}
        self._op("lab", "info", "end", value)

    # What was told

    def model(self) -> Model:
        return Model(History(self.header, sorted(self.ops, key=lambda op: op.time_ns), False))

    def verdicts(self) -> list[Verdict]:
        return judge(self.model())

    def verdict(self, invariant: str) -> Verdict:
        return next(verdict for verdict in self.verdicts() if verdict.invariant == invariant)

    def write(self, path: Path) -> Path:
        path.write_text(self.header.line() + "".join(op.line() for op in self.ops))
        return path

    def _settle(self, f: str, process: str, id: str, token: str | None = None, **how: Any) -> None:
        self._call(process, f, {"id": id} | ({"token": token} if token else {}), {}, **how)

    def _call(
        self,
        process: str,
        f: str,
        asked: dict[str, Any],
        answer: dict[str, Any],
        outcome: str | None = "ok",
        error: str | None = None,
        at: tuple[int, int] | None = None,
    ) -> None:
        invoked_ms, returned_ms = at or (self.now_ms, self.now_ms + 1)
        asked = {"conn": self.conn(process), **asked}
        self._op(process, "invoke", f, asked, at_ms=invoked_ms)
        if outcome:
            value = asked | answer if outcome == "ok" else asked
            self._op(process, outcome, f, value, error, at_ms=returned_ms)
        if outcome == "info":
            self.reconnect(process)

    def _op(
        self,
        process: str,
        type: str,
        f: str,
        value: dict[str, Any],
        error: str | None = None,
        at_ms: int | None = None,
    ) -> None:
        at_ms = self.now_ms if at_ms is None else at_ms
        self.now_ms = max(self.now_ms, at_ms) + 1
        self.ops.append(Op(len(self.ops), at_ms * MS, process, type, f, value, error))
