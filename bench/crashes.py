"""Kill the broker at random moments under load, again and again, and hold it to what it had confirmed.

Nothing confirmed may be lost, nothing done may run again, no id or token may be used twice.
"""
import argparse
import contextlib
import itertools
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from dsjq import OutcomeUnknown, Producer, Refused, Worker
from dsjq.messages import Stats

DRAIN_S = 60.0
PAUSE_S = 0.01


class Ledger:
    """What the clients know, and what they noticed that must not be."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.tried: set[bytes] = set()
        self.confirmed: dict[int, bytes] = {}
        self.acked: set[int] = set()  # whatever came of it: an ACK without an answer may have counted
        self.done: dict[int, float] = {}  # when the OK was read
        self.delivered: dict[int, bytes] = {}
        self.tokens: set[str] = set()
        self.deliveries = 0
        self.wrong: list[str] = []

    def confirm(self, id: int, payload: bytes) -> None:
        with self.lock:
            if id in self.confirmed or self.delivered.get(id, payload) != payload:
                self.wrong.append(f"id {id} used twice")
            self.confirmed[id] = payload

    def deliver(self, id: int, payload: bytes, token: str, asked_at: float) -> None:
        with self.lock:
            if payload not in self.tried:
                self.wrong.append(f"job {id} with {payload!r}, which nobody submitted")
            if self.confirmed.get(id, payload) != payload or self.delivered.get(id, payload) != payload:
                self.wrong.append(f"job {id} with {payload!r}, which is another's")
            if self.done.get(id, asked_at) < asked_at:
                self.wrong.append(f"job {id} delivered although it was done")
            if token in self.tokens:
                self.wrong.append(f"token {token} used twice")
            self.delivered[id] = payload
            self.tokens.add(token)
            self.deliveries += 1

    def lost(self) -> list[int]:
        with self.lock:
            return [id for id in self.confirmed if id not in self.acked]


class Clients:
    """Four producers and four workers, who come back whenever the broker does."""

    def __init__(self, backlog: int) -> None:
        self.backlog = backlog  # as long as so many are confirmed and not acknowledged, producers wait
        self.ledger, self.port = Ledger(), 0
        self.producing = self.working = True
        self.producers = [threading.Thread(target=self._produce, args=[n]) for n in range(4)]
        self.workers = [threading.Thread(target=self._work) for _ in range(4)]
        for thread in (*self.producers, *self.workers):
            thread.start()

    def _produce(self, n: int) -> None:
        numbers = itertools.count()
        while self.producing:
            with contextlib.suppress(Refused, OutcomeUnknown), Producer("127.0.0.1", self.port) as producer:
                while self.producing:
                    if len(self.ledger.confirmed) - len(self.ledger.acked) >= self.backlog:
                        time.sleep(PAUSE_S)
                        continue
                    payload = b"%d-%d" % (n, next(numbers))
                    self.ledger.tried.add(payload)
                    self.ledger.confirm(producer.submit(payload), payload)
            time.sleep(PAUSE_S)

    def _work(self) -> None:
        while self.working:
            with contextlib.suppress(Refused, OutcomeUnknown), Worker("127.0.0.1", self.port) as worker:
                while self.working:
                    asked_at = time.monotonic()
                    if job := worker.reserve(wait_s=0.1):
                        self.ledger.deliver(job.id, job.payload, job.token, asked_at)
                        self.ledger.acked.add(job.id)
                        worker.ack(job)
                        self.ledger.done[job.id] = time.monotonic()
            time.sleep(PAUSE_S)

    def stop(self) -> None:
        self.producing = self.working = False
        for thread in (*self.producers, *self.workers):
            thread.join()


def run(store: str, kills: int, seed: int, folder: Path, backlog: int = 200) -> Ledger:
    dice, clients = random.Random(seed), Clients(backlog)
    command = [sys.executable, "-m", "dsjq", "serve", "--port", "0", "--max-attempts", "1000000",
               "--data", str(folder), "--store", store]
    try:
        for n in range(kills + 1):
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as broker:
                try:
                    clients.port = int(broker.stdout.readline().split(b":")[-1])
                    if n < kills:
                        time.sleep(dice.uniform(0.0, 0.15))
                    else:
                        _drain(clients)
                finally:
                    broker.kill()
    finally:
        clients.stop()
    return clients.ledger


def _drain(clients: Clients) -> None:
    """Until the broker knows of no more to do; or what it has lost keeps it from that."""
    clients.producing = False
    for thread in clients.producers:
        thread.join()
    deadline = time.monotonic() + DRAIN_S
    with Producer("127.0.0.1", clients.port) as asking:
        while time.monotonic() < deadline:
            stats = asking.call(Stats()).data
            if stats["done"] == stats["submitted"]:
                return
            time.sleep(PAUSE_S)
    clients.ledger.wrong.append(f"after {DRAIN_S:g} s there is still work to do: {stats}")


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench crashes", description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--store", choices=["journal", "sqlite"], action="append")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    status = 0
    for store in options.store or ["journal", "sqlite"]:
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            ledger = run(store, options.kills, options.seed, Path(folder))
        print(f"{store}: {options.kills} kills in {time.monotonic() - start:.0f} s: {len(ledger.tried)} jobs "
              f"tried, {len(ledger.confirmed)} confirmed, {len(ledger.done)} done in {ledger.deliveries} "
              f"deliveries; {len(ledger.lost())} confirmed and lost, {len(ledger.wrong)} other faults",
              flush=True)
        for fault in ledger.wrong[:20]:
            print(f"  {fault}")
        status |= bool(ledger.lost() or ledger.wrong or not ledger.done)
    return status
