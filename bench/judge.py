"""How long the judge takes: a plausible history of N operations is written, read, modelled and judged.

    python -m bench judge 100000 1000000

The mix is that of a real run: for each job about one question in vain, a count now and then, one worker in
twenty killed with its job, one lease in fifty run out, one job in fifty given back.
"""
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dsjq_lab.checkers import judge
from dsjq_lab.history import Header, Op, read_history
from dsjq_lab.model import Model
from dsjq_lab.verdict import merge

Value = dict[str, Any]
WORKERS = 8
STEP_NS = 20_000
ACK_TIMEOUT_NS = 2_000_000_000


class Story:
    """A correct queue, whose workers take turns."""

    def __init__(self) -> None:
        self.dice = random.Random(7)
        self.now_ns = self.told = self.jobs = self.faults = self.tokens = 0
        self.lives = dict.fromkeys((f"worker {number}" for number in range(1, WORKERS + 1)), 1)

    def ops(self, count: int) -> Iterator[Op]:
        """At least so many; the last job is finished."""
        while self.told < count:
            self.jobs += 1
            yield from self.one_job(f"j{self.jobs}", str(self.jobs), f"worker {self.jobs % WORKERS + 1}")
        end = {"drained": True, "why": "", "healthy": True, "epsilon_ns": 1_000_000}
        yield self.op("lab", "info", "end", end)

    def one_job(self, job: str, id: str, worker: str) -> Iterator[Op]:
        named = {"job": job, "payload": f"{job} naïve café"}
        yield from self.call("producer 1", "submit", named, {"id": id})
        for attempt in range(1, 100):
            self.tokens += 1
            lease = {"id": id, "token": f"1.{self.tokens}", "attempt": attempt}
            yield from self.call(worker, "reserve", {}, {**named, **lease})
            chance = self.dice.random()
            if chance < 0.05:
                yield from self.kill(worker)
            elif chance < 0.07:
                self.now_ns += ACK_TIMEOUT_NS
            elif chance < 0.09:
                yield from self.call(worker, "fail", {"job": job, "id": id, "token": lease["token"]}, {})
            else:
                yield from self.call(worker, "ack", {"job": job, "id": id, "token": lease["token"]}, {})
                break
        yield from self.call(worker, "reserve", {}, {"empty": True})
        if self.jobs % 10 == 0:
            counts = {"submitted": self.jobs, "pending": 0, "in_flight": 0, "done": self.jobs, "dead": 0}
            yield from self.call("auditor", "stats", {}, counts)

    def kill(self, worker: str) -> Iterator[Op]:
        self.faults += 1
        for phase in ("begin", "struck", "end"):
            value = {"fault": self.faults, "victim": worker, "phase": phase, "exact": True}
            yield self.op("nemesis", "info", "kill", value)
        self.lives[worker] += 1
        yield from self.call(worker, "connect", {}, {"greeting": "OK"})

    def call(self, process: str, f: str, asked: Value, answer: Value) -> Iterator[Op]:
        asked = {**asked, "conn": f"{process}/{self.lives.get(process, 1)}.1"}
        yield self.op(process, "invoke", f, asked)
        yield self.op(process, "ok", f, {**asked, **answer})

    def op(self, process: str, type: str, f: str, value: Value) -> Op:
        self.told += 1
        self.now_ns += STEP_NS
        return Op(self.told, self.now_ns, process, type, f, value, None)


def write(path: Path, count: int) -> None:
    header = Header(
        format=2, lab="bench", scenario="judge", scenario_hash="-", seed=7, broker="dsjq", start_ns=0,
        ack_timeout_ns=ACK_TIMEOUT_NS, max_attempts=100, finish_within_ns=10_000_000_000,
    )  # fmt: skip
    with path.open("w", encoding="utf-8") as file:
        file.write(header.line())
        file.writelines(op.line() for op in Story().ops(count))


def main(argv: list[str]) -> None:
    print(f"{'operations':>10}  {'read':>7}  {'model':>7}  {'judge':>7}  {'in all':>7}   CPU seconds")
    for count in map(int, argv or ["100000", "1000000"]):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "history.jsonl"
            write(path, count)
            times = [time.process_time()]
            history = read_history(path)
            times.append(time.process_time())
            model = Model(history)
            times.append(time.process_time())
            verdicts = judge(model)
            times.append(time.process_time())
        taken = [later - earlier for earlier, later in zip(times, [*times[1:], times[0]], strict=True)]
        taken[-1] = -taken[-1]
        told = "  ".join(f"{seconds:7.2f}" for seconds in taken)
        print(f"{len(history.ops):>10}  {told}   {merge(verdicts)}")
