"""What the broker costs beside jobs per second: `python -m bench broker [NAME …]`.

    ready    seconds from the start of `dsjq serve` until it accepts a connection
    restart  the same with 100,000 pending jobs in its journal
    latency  from before a submit until the job is in a worker's hands, 100 jobs a second, beside beanstalkd
    memory   of the broker, for each pending job of 64 bytes
    idle     what 1,000 silent connections cost: memory of each, and how fast the others still are
    growth   CPU time of the broker for a job that passes through, beside more and more pending ones

Each measurement prints a line of JSON. Those that compare do so turn by turn in one run.
"""
import argparse
import json
import multiprocessing
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import psutil

from dsjq import Producer, Worker
from dsjq.extensions import binary
from dsjq_lab.brokers import under_study

from .peers import BATCH, PAYLOAD, started
from .siege import MANY, broker, room

STARTS, ROUNDS, JOBS, PACED, PENDING, SILENT = 21, 3, 2_000, 500, 100_000, 1_000
DEPTHS = (1_000, 10_000, 100_000, 1_000_000)
PAUSE_S = 0.01
Row = dict[str, Any]
Receive = Callable[[int], Iterator[bytes]]  # from a port: the payloads, one after the other


def ready() -> Iterator[Row]:
    yield {"ready_ms": spread([start_s() * 1e3 for _ in range(STARTS)])}


def restart() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        with broker("--data", folder) as ((_, port), _pid):
            fill(port, PENDING)
        times_ms = [start_s("--data", folder) * 1e3 for _ in range(ROUNDS)]
        yield {"pending": PENDING, "ready_ms": spread(times_ms)}


def latency() -> Iterator[Row]:
    found: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for name, submit, receive in (("dsjq", lines_submit, lines_receive),
                                      ("beanstalkd", tube_submit, tube_receive)):
            with started(under_study(name, None)) as (port, _):
                found.setdefault(name, []).extend(delivered_ms(submit(port), receive, port))
    for name, times_ms in found.items():
        yield {"broker": name, "submit_to_receive_ms": spread(times_ms)}


def memory() -> Iterator[Row]:
    with broker() as ((_, port), pid):
        fill(port, BATCH)
        before = psutil.Process(pid).memory_info().rss
        fill(port, PENDING)
        grown = psutil.Process(pid).memory_info().rss - before
    yield {"pending": PENDING, "bytes_per_job": round(grown / PENDING)}


def idle() -> Iterator[Row]:
    room()
    alone, beside = [], []
    with broker(*MANY) as ((_, port), pid):
        for _ in range(ROUNDS):
            alone.append(through(port))
            before = psutil.Process(pid).memory_info().rss
            with ExitStack() as stack:
                for _ in range(SILENT):
                    stack.enter_context(socket.create_connection(("127.0.0.1", port)))
                beside.append(through(port))
                grown = psutil.Process(pid).memory_info().rss - before
    yield {"silent": SILENT, "kib_each": round(grown / SILENT / 1024, 1), "jobs_per_s_alone": spread(alone),
           "jobs_per_s_beside": spread(beside),
           "ratio": round(statistics.median(beside) / statistics.median(alone), 2)}


def growth() -> Iterator[Row]:
    with broker() as ((_, port), pid):
        there = 0
        for depth in DEPTHS:
            fill(port, depth - there)
            there = depth
            before = psutil.Process(pid).cpu_times().user
            pass_through(port, 40 * BATCH)
            cpu_s = psutil.Process(pid).cpu_times().user - before
            yield {"pending": depth, "cpu_us_per_job": round(cpu_s / (40 * BATCH) * 1e6, 1)}


# ---- How


def start_s(*options: str) -> float:
    start = time.perf_counter()
    with broker(*options):
        return time.perf_counter() - start


def fill(port: int, jobs: int) -> None:
    with binary.Producer("127.0.0.1", port) as producer:
        for first in range(0, jobs, BATCH):
            outcomes = producer.submit_many([PAYLOAD] * min(BATCH, jobs - first))
            assert all(isinstance(outcome, int) for outcome in outcomes), outcomes


def pass_through(port: int, jobs: int) -> None:
    """As many come as go, so that what is pending stays as it is."""
    with binary.Producer("127.0.0.1", port) as producer, binary.Worker("127.0.0.1", port) as worker:
        for _ in range(jobs // BATCH):
            producer.submit_many([PAYLOAD] * BATCH)
            assert not any(worker.ack_many(worker.reserve_many(BATCH)))


def through(port: int) -> float:
    """Jobs per second of one client, in lines, one at a time."""
    with Producer("127.0.0.1", port) as producer, Worker("127.0.0.1", port) as worker:
        start = time.perf_counter()
        for _ in range(JOBS):
            producer.submit(PAYLOAD)
            job = worker.reserve()
            assert job
            worker.ack(job)
        return JOBS / (time.perf_counter() - start)


def lines_receive(port: int) -> Iterator[bytes]:
    with Worker("127.0.0.1", port) as worker:
        while True:
            if job := worker.reserve(wait_s=1.0):
                yield job.payload
                worker.ack(job)


def tube_receive(port: int) -> Iterator[bytes]:
    import greenstalk
    with greenstalk.Client(("127.0.0.1", port), encoding=None) as client:
        while True:
            job = client.reserve()
            yield job.body
            client.delete(job)


def lines_submit(port: int) -> Callable[[bytes], Any]:
    return Producer("127.0.0.1", port).submit


def tube_submit(port: int) -> Callable[[bytes], Any]:
    import greenstalk
    return greenstalk.Client(("127.0.0.1", port), encoding=None).put  # type: ignore[no-any-return]


def delivered_ms(submit: Callable[[bytes], Any], receive: Receive, port: int) -> list[float]:
    """Each payload tells when it left; the clock is one that processes share."""
    context = multiprocessing.get_context("spawn")
    told, tell = context.Pipe(duplex=False)
    worker = context.Process(target=_note_ages, args=(receive, port, tell), daemon=True)
    worker.start()
    told.recv()
    for _ in range(PACED):
        submit(f"{time.monotonic():<64.9f}".encode())
        time.sleep(PAUSE_S)
    ages_ms: list[float] = told.recv()
    worker.join()
    return ages_ms


def _note_ages(receive: Receive, port: int, tell: Any) -> None:
    payloads, ages_ms = receive(port), []
    tell.send("ready")
    for _ in range(PACED):
        left_s = float(next(payloads))
        ages_ms.append((time.monotonic() - left_s) * 1e3)
    payloads.close()  # type: ignore[attr-defined]
    tell.send(ages_ms)


def spread(found: list[float]) -> dict[str, float]:
    told = {"median": statistics.median(found), "from": min(found), "to": max(found)}
    return {name: round(figure, 3) for name, figure in told.items()}


MEASUREMENTS = {measure.__name__: measure for measure in (ready, restart, latency, memory, idle, growth)}


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench broker", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="all if none is named")
    names = parser.parse_args(argv).names
    if unknown := set(names) - set(MEASUREMENTS):
        parser.error(f"no {', '.join(sorted(unknown))}; there are {', '.join(MEASUREMENTS)}")
    for name in names or MEASUREMENTS:
        for row in MEASUREMENTS[name]():
            print(json.dumps({"measured": name, **row}), flush=True)
