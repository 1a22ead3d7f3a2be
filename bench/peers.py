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
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from dsjq_lab.brokers import Broker, Place, under_study
from dsjq_lab.errors import LabError
from dsjq_lab.ports import PortLease
from dsjq_lab.processes import Processes

PAYLOAD = b"x" * 64
BATCH = 500


class Way(NamedTuple):
    """How one broker is fed and emptied. Its clients get the port, and how many jobs."""

    name: str
    broker: str  # as the lab knows it
    store: str  # "memory", or on disk
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


def rabbit_channel(port: int) -> Any:
    import pika
    channel = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port)).channel()
    channel.queue_declare("jobs", durable=True)
    return channel


def rabbit_message() -> dict[str, Any]:
    import pika
    return {"exchange": "", "routing_key": "jobs", "body": PAYLOAD,
            "properties": pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent)}


def rabbit_produce(port: int, jobs: int) -> None:
    channel = rabbit_channel(port)
    channel.confirm_delivery()
    for _ in range(jobs):
        channel.basic_publish(**rabbit_message())


def rabbit_produce_many(port: int, jobs: int) -> None:
    """A batch is on its way at a time: the next follows when all of it has been confirmed."""
    import pika
    sent = confirmed = 0

    def publish() -> None:
        nonlocal sent
        for _ in range(BATCH):
            channel.basic_publish(**message)
        sent += BATCH

    def confirm(frame: Any) -> None:
        nonlocal confirmed
        confirmed = frame.method.delivery_tag if frame.method.multiple else confirmed + 1
        if confirmed == jobs:
            connection.close()
        elif confirmed == sent:
            publish()

    def opened(opened: Any) -> None:
        nonlocal channel
        channel = opened
        channel.confirm_delivery(confirm, callback=lambda _: publish())

    if not jobs:
        return
    message, channel = rabbit_message(), None
    connection = pika.SelectConnection(
        pika.ConnectionParameters("127.0.0.1", port),
        on_open_callback=lambda found: found.channel(on_open_callback=opened),
        on_close_callback=lambda found, why: found.ioloop.stop())
    connection.ioloop.start()


def rabbit_work(port: int, jobs: int, at_once: int = 1) -> None:
    channel = rabbit_channel(port)
    channel.basic_qos(prefetch_count=at_once)
    for done in range(1, jobs + 1):
        frame, _, _ = next(channel.consume("jobs"))
        if done % at_once == 0:
            channel.basic_ack(frame.delivery_tag, multiple=True)
    channel.connection.process_data_events()  # the last one leaves


def rabbit_work_many(port: int, jobs: int) -> None:
    rabbit_work(port, jobs, BATCH)


WAYS = [
    Way("dsjq lines, memory", "dsjq", "memory", lines_produce, lines_work),
    Way("dsjq frames of 500, memory", "dsjq", "memory", frames_produce, frames_work),
    Way("beanstalkd, memory", "beanstalkd", "memory", tube_produce, tube_work),
    Way("redis stream pipelined by 500, memory", "redis-stream", "memory", stream_produce, stream_work),
    Way("dsjq lines, journal", "dsjq", "journal", lines_produce, lines_work),
    Way("dsjq frames of 500, journal", "dsjq", "journal", frames_produce, frames_work),
    Way("beanstalkd, binlog, fsync each", "beanstalkd", "journal", tube_produce, tube_work),
    Way("redis stream pipelined by 500, AOF always", "redis-stream", "journal", stream_produce, stream_work),
    Way("rabbitmq durable, confirms", "rabbitmq", "journal", rabbit_produce, rabbit_work),
    Way("rabbitmq durable, confirms for 500", "rabbitmq", "journal", rabbit_produce_many, rabbit_work_many),
]


# ---- Measuring


@contextlib.contextmanager
def started(broker: Broker, store: str = "memory", data: Path | None = None) -> Iterator[tuple[int, int]]:
    """Its port and its process id. Nothing of it is left afterwards."""
    with tempfile.TemporaryDirectory() as folder, PortLease() as lease, Processes(Path(folder)) as processes:
        place = Place("127.0.0.1", lease.port, data or Path(folder), 60.0, max_attempts=5, store=store)
        process = processes.spawn("broker", broker.command(place), env=broker.environment(place))
        processes.wait_ready(process, lease.port, timeout_s=broker.ready_within_s or 20)
        yield lease.port, process.pid


def measure(way: Way, jobs: int) -> tuple[float, float]:
    """Jobs per second; and the seconds of CPU that broker and clients took, with their start."""
    before_s = _cpu_s()
    with started(under_study(way.broker, None), way.store) as (port, _):
        spawn = multiprocessing.get_context("spawn")
        gate = spawn.Barrier(3)
        clients = [spawn.Process(target=_gated, args=(gate, client, port, jobs), daemon=True)
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
    here, missing = [], []
    for way in (way for way in WAYS if options.only in way.name):
        try:
            under_study(way.broker, None)
            here.append(way)
        except LabError as problem:
            missing.append(str(problem))
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
    for problem in sorted(set(missing)):
        print(f"not measured: {problem}", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
