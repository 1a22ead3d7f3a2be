"""Jobs per second, one producer and one worker at once, of dsjq and of the real brokers that are here.

`python -m bench peers [--jobs N] [--rounds R] [--only WORD]`. Every broker does the same work in the same
run, turn by turn, since a machine's speed changes from minute to minute: quote the ratios. Payloads have 64
bytes; producer and worker are processes of their own. A line of JSON for each way: the median of its rounds,
the smallest and the greatest; how it compares with the first; and what a job costs all three processes
in CPU time, less that of their start: that hardly depends on what else the machine does.
"""
import argparse
import contextlib
import json
import multiprocessing
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

PAYLOAD = b"x" * 64
BATCH = 500


class Way(NamedTuple):
    """How one broker is started, fed and emptied. Its clients get the port, and how many jobs."""

    name: str
    command: list[str]  # {port}, {data}
    produce: Callable[[int, int], None]
    work: Callable[[int, int], None]


# ---- Clients: they import what they need, in their own process


def lines_produce(port: int, jobs: int) -> None:
    from dsjq import Producer
    with Producer("127.0.0.1", port) as producer:
        for _ in range(jobs):
            producer.submit(PAYLOAD)


def lines_work(port: int, jobs: int) -> None:
    from dsjq import Worker
    with Worker("127.0.0.1", port) as worker:
        for _ in range(jobs):
            while not (job := worker.reserve(wait_s=5.0)):
                pass
            worker.ack(job)


def frames_produce(port: int, jobs: int) -> None:
    from dsjq.extensions.binary import Producer
    with Producer("127.0.0.1", port) as producer:
        for _ in range(jobs // BATCH):
            outcomes = producer.submit_many([PAYLOAD] * BATCH)
            assert all(isinstance(outcome, int) for outcome in outcomes), outcomes


def frames_work(port: int, jobs: int) -> None:
    from dsjq.extensions.binary import Worker
    with Worker("127.0.0.1", port) as worker:
        done = 0
        while done < jobs:
            batch = worker.reserve_many(BATCH, wait_s=5.0)
            assert not any(worker.ack_many(batch))
            done += len(batch)


def tube_produce(port: int, jobs: int) -> None:
    import greenstalk
    with greenstalk.Client(("127.0.0.1", port)) as client:
        for _ in range(jobs):
            client.put(PAYLOAD.decode())


def tube_work(port: int, jobs: int) -> None:
    import greenstalk
    with greenstalk.Client(("127.0.0.1", port)) as client:
        for _ in range(jobs):
            client.delete(client.reserve())


def stream_produce(port: int, jobs: int) -> None:
    import redis
    client = redis.Redis(port=port)
    for _ in range(jobs // BATCH):
        pipe = client.pipeline(transaction=False)
        for _ in range(BATCH):
            pipe.xadd("jobs", {"payload": PAYLOAD})
        pipe.execute()


def stream_work(port: int, jobs: int) -> None:
    import redis
    client = redis.Redis(port=port)
    with contextlib.suppress(redis.ResponseError):  # it is there
        client.xgroup_create("jobs", "workers", id="0", mkstream=True)
    done = 0
    while done < jobs:
        for _, entries in client.xreadgroup("workers", "one", {"jobs": ">"}, count=BATCH, block=5000):
            client.xack("jobs", "workers", *[id for id, _ in entries])
            done += len(entries)


DSJQ = [sys.executable, "-m", "dsjq", "serve", "--port", "{port}"]
REDIS = ["redis-server", "--port", "{port}", "--dir", "{data}", "--save", ""]
BEANSTALKD = ["beanstalkd", "-l", "127.0.0.1", "-p", "{port}"]
WAYS = [
    Way("dsjq lines, memory", DSJQ, lines_produce, lines_work),
    Way("dsjq frames of 500, memory", DSJQ, frames_produce, frames_work),
    Way("beanstalkd, memory", BEANSTALKD, tube_produce, tube_work),
    Way("redis stream pipelined by 500, memory", REDIS, stream_produce, stream_work),
    Way("dsjq lines, journal", [*DSJQ, "--data", "{data}"], lines_produce, lines_work),
    Way("dsjq frames of 500, journal", [*DSJQ, "--data", "{data}"], frames_produce, frames_work),
    Way("beanstalkd, binlog, fsync each", [*BEANSTALKD, "-b", "{data}", "-f", "0"], tube_produce, tube_work),
    Way("redis stream pipelined by 500, AOF always",
        [*REDIS, "--appendonly", "yes", "--appendfsync", "always"], stream_produce, stream_work),
]


# ---- Measuring


@contextlib.contextmanager
def started(way: Way) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as data:
        words = [word.format(port=port, data=data) for word in way.command]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _await(port)
            yield port
        finally:
            process.kill()
            process.wait()


def _await(port: int) -> None:
    until = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)


def measure(way: Way, jobs: int) -> tuple[float, float]:
    """Jobs per second; and the seconds of CPU that broker and clients took, with their start."""
    before_s = _cpu_s()
    with started(way) as port:
        spawn = multiprocessing.get_context("spawn")
        gate = spawn.Barrier(3)
        clients = [spawn.Process(target=_gated, args=(gate, client, port, jobs))
                   for client in (way.produce, way.work)]
        for client in clients:
            client.start()
        gate.wait(60)
        start = time.perf_counter()
        for client in clients:
            client.join()
        seconds = time.perf_counter() - start
        assert all(client.exitcode == 0 for client in clients), f"{way.name}: a client failed"
    return jobs / seconds, _cpu_s() - before_s


def _cpu_s() -> float:
    """Of all children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _gated(gate: Any, client: Callable[[int, int], None], port: int, jobs: int) -> None:
    client(port, 0)  # whatever must be imported
    gate.wait(60)
    client(port, jobs)


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench peers", description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000, help="ten times as many in batches")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", metavar="WORD", help="those whose names have it, e.g. journal")
    options = parser.parse_args(argv)
    asked = [way for way in WAYS if options.only in way.name]
    here = [way for way in asked if shutil.which(way.command[0])]
    rates: dict[str, list[float]] = {way.name: [] for way in here}
    costs_us: dict[str, list[float]] = {way.name: [] for way in here}
    start_s = {way.name: measure(way, 0)[1] for way in here}
    for _ in range(options.rounds):
        for way in here:
            jobs = options.jobs * (10 if "500" in way.name else 1)
            jobs_per_s, cpu_s = measure(way, jobs)
            rates[way.name].append(jobs_per_s)
            costs_us[way.name].append((cpu_s - start_s[way.name]) / jobs * 1e6)
    first: float | None = None
    for name, found in rates.items():
        median = statistics.median(found)
        first = first or median
        print(json.dumps({"way": name, "jobs_per_s": round(median), "from": round(min(found)),
                          "to": round(max(found)), "of_the_first": round(median / first, 2),
                          "cpu_us_per_job": round(statistics.median(costs_us[name]), 1)}))
    missing = [way.command[0] for way in asked if way not in here]
    if missing:
        print(f"not here, so not measured: {', '.join(sorted(set(missing)))}", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
