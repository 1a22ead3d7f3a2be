"""Malformed traffic against a live broker, beside honest clients: `python -m bench malformed [--for S]`.

Attackers, processes of their own, send what bench/fuzz.py makes of good messages, in lines and in frames,
and hang up in the middle, reset, or read nothing. Meanwhile a producer submits and a worker works. Afterwards
all that was confirmed must have been done, honest clients must have heard nothing but what they hoped for,
and the broker must have no more threads and descriptors than before. Attackers take no jobs: who may come in
may do that.
"""
import argparse
import json
import multiprocessing
import random
import socket
import statistics
import struct
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.fuzz import SAID, clump
from bench.siege import Address, broker
from dsjq import Job, Producer, Worker
from dsjq import messages as m
from dsjq.extensions.binary import Frames
from dsjq.text import LineCoding

HONEST = b"honest"
HONEST_PER_S = 100
URGENT = -9  # attackers submit more than one worker can do: that is a flood, and another question
INPUTS = 20  # of a connection
PATIENCE_S = 30.0
RESET = struct.pack("ii", 1, 0)


def attack(address: Address, seed: int, seconds: float, told: Any) -> None:
    """Tells how many connections and inputs there were."""
    dice, connections, inputs = random.Random(seed), 0, 0
    said = [command for command in SAID if not isinstance(command, m.Reserve)]
    codings: list[Any] = [LineCoding(), Frames()]
    good = [[coding.wrap(coding.encode_command(command)) for command in said] for coding in codings]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        in_frames = dice.randrange(2)
        with suppress(OSError), socket.create_connection(address, PATIENCE_S) as opened:
            connections += 1
            if in_frames:
                opened.sendall(b"HELLO binary/1\n")
            for _ in range(dice.randrange(1, INPUTS)):
                opened.sendall(clump(dice, good[in_frames]))
                inputs += 1
                if dice.random() < 0.5:
                    opened.settimeout(0.02)
                    with suppress(TimeoutError):
                        opened.recv(65536)
                    opened.settimeout(PATIENCE_S)
            if dice.random() < 0.3:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    told.send((connections, inputs))


class Honest:
    """One producer and one worker, and what they know."""

    def __init__(self, address: Address):
        self.address, self.over = address, threading.Event()
        self.confirmed, self.done = set[int](), set[int]()
        self.took_ms: list[float] = []
        self.problems: list[str] = []
        roles = self.produce, self.work
        self.threads = [threading.Thread(target=self.watched, args=(role,)) for role in roles]
        for thread in self.threads:
            thread.start()

    def watched(self, role: Any) -> None:
        try:
            role()
        except Exception as problem:
            self.problems.append(f"{role.__name__}: {problem!r}")

    def produce(self) -> None:
        with Producer(*self.address) as producer:
            while not self.over.wait(1 / HONEST_PER_S):
                start = time.monotonic()
                self.confirmed.add(producer.submit(HONEST, priority=URGENT))
                self.took_ms.append((time.monotonic() - start) * 1000)

    def work(self) -> None:
        """Also on what attackers have submitted, until all that was confirmed is done, or too long after."""
        end = float("inf")

        def finished() -> bool:
            nonlocal end
            if self.over.is_set():
                end = min(end, time.monotonic() + PATIENCE_S)
            return (self.over.is_set() and self.confirmed <= self.done) or time.monotonic() > end

        def handle(job: Job) -> None:
            self.done.add(job.id)

        def complain(job: Job, problem: Exception) -> None:
            if job.payload == HONEST:  # others may have asked for a lease of a microsecond
                self.problems.append(f"job {job.id}: {problem}")

        with Worker(*self.address) as worker:
            worker.run(handle, stop=finished, on_problem=complain)

    def stop(self) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()


def used(pid: int) -> tuple[int, int]:
    """Threads and descriptors."""
    process = Path("/proc") / str(pid)
    return len(list((process / "task").iterdir())), len(list((process / "fd").iterdir()))


def at_rest(pid: int, before: tuple[int, int]) -> tuple[int, int]:
    """What it uses, as soon as that is no more than before, or at last."""
    end = time.monotonic() + PATIENCE_S
    while (now := used(pid)) > before and time.monotonic() < end:
        time.sleep(0.05)
    return now


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench malformed", description=__doc__)
    parser.add_argument("--for", type=float, default=60.0, dest="seconds", metavar="S")
    parser.add_argument("--attackers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    with broker("--max-attempts", "1000") as (address, pid):
        before = used(pid)
        honest = Honest(address)
        pipes, attackers = [], []
        for number in range(options.attackers):
            ours, theirs = multiprocessing.Pipe()
            seed = options.seed * 1000 + number
            attacker = multiprocessing.Process(target=attack, args=(address, seed, options.seconds, theirs))
            attacker.start()
            pipes.append(ours)
            attackers.append(attacker)
        told = [pipe.recv() for pipe in pipes]
        for attacker in attackers:
            attacker.join()
        honest.stop()
        after = at_rest(pid, before)
    lost = honest.confirmed - honest.done
    p50, p99 = (statistics.quantiles(honest.took_ms, n=100)[place] for place in (49, 98))
    connections, inputs = (sum(counts) for counts in zip(*told, strict=True))
    print(json.dumps({
        "attackers_s": round(options.attackers * options.seconds), "seed": options.seed,
        "connections": connections, "inputs": inputs,
        "honest_confirmed": len(honest.confirmed), "lost": len(lost), "problems": honest.problems[:5],
        "submit_ms_p50": round(p50, 1), "submit_ms_p99": round(p99, 1),
        "threads_and_descriptors": {"before": before, "after": after}}))
    return 1 if lost or honest.problems or after > before else 0
