"""Who gets a copy, of dsjq and of a real RabbitMQ: the same bindings, the same keys, the same copies?

`python -m bench routing [--keys N] [--seed S]`. Bindings are drawn, some are taken back, and 500 keys are
published to each set; both brokers then show which queues have which. Ends with 1, and shows the first key
that went elsewhere, if they differ. Keys and patterns have few words, also empty ones and those that mean
something to a pattern, so that most keys find a pattern that is nearly theirs.
"""
import argparse
import contextlib
import json
import os
import random
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pika

from dsjq import Refused
from dsjq import messages as m
from dsjq.broker import Broker
from dsjq.client import Connection
from dsjq.extensions import routing
from dsjq.server import Server
from dsjq_lab.brokers.broker import Place
from dsjq_lab.brokers.real import RabbitMQ
from dsjq_lab.ports import PortLease

KEYS_A_SET = 500
QUEUES = ("p", "q", "r", "s")
Binding = tuple[str, str]  # queue, key
Copies = dict[str, list[int]]  # queue -> which keys it got, by number


def drawn(dice: random.Random, words: str) -> str:
    return ".".join(dice.choices([*words, "", "ab"], k=dice.randint(0, 5)))


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench routing", description=__doc__)
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    dice = random.Random(options.seed)
    copies = unroutable = 0
    with rabbitmq() as channel, dsjq() as connection:
        for number in range(-(-options.keys // KEYS_A_SET)):
            kind = dice.choice(["topic", "topic", "topic", "direct", "fanout"])
            bound = [(dice.choice(QUEUES), drawn(dice, "ab*##*")) for _ in range(dice.randint(0, 9))]
            unbound = [binding for binding in bound if dice.random() < 0.2]
            keys = [drawn(dice, "aabb*#") for _ in range(min(KEYS_A_SET, options.keys))]
            wanted = in_rabbitmq(channel, f"{number}", kind, bound, unbound, keys)
            found = in_dsjq(connection, f"{number}", kind, bound, unbound, keys)
            if wanted != found:
                n = min(n for queue in QUEUES for n in {*wanted[queue]} ^ {*found[queue]} or {len(keys)})
                print(json.dumps({"kind": kind, "bound": bound, "unbound": unbound, "key": keys[n],
                                  "rabbitmq": [queue for queue in QUEUES if n in wanted[queue]],
                                  "dsjq": [queue for queue in QUEUES if n in found[queue]]}))
                return 1
            copies += sum(map(len, found.values()))
            unroutable += len({*range(len(keys))} - {n for got in found.values() for n in got})
    print(json.dumps({"keys": options.keys, "copies": copies, "unroutable": unroutable, "different": 0}))
    return 0


@contextlib.contextmanager
def rabbitmq() -> Iterator[Any]:
    broker = RabbitMQ()
    with tempfile.TemporaryDirectory() as folder:
        place = Place("127.0.0.1", PortLease().port, Path(folder), 60.0, 5, "memory")
        with subprocess.Popen(broker.command(place), env={**os.environ, **broker.environment(place)},
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                with contextlib.closing(connected(place.port, process)) as connection:
                    yield connection.channel()
            finally:
                process.kill()


def connected(port: int, process: subprocess.Popen[bytes], patience_s: float = 60.0) -> Any:
    until = time.monotonic() + patience_s
    while process.poll() is None and time.monotonic() < until:
        with contextlib.suppress(pika.exceptions.AMQPError):
            return pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port))
        time.sleep(0.2)
    raise SystemExit("RabbitMQ did not start")


@contextlib.contextmanager
def dsjq() -> Iterator[Connection]:
    server = Server(Broker())
    try:
        with Connection(*server.address) as connection:
            yield connection
    finally:
        server.stop()


def in_rabbitmq(channel: Any, name: str, kind: str, bound: list[Binding], unbound: list[Binding],
                keys: list[str]) -> Copies:
    channel.exchange_declare(name, kind)
    for queue in QUEUES:
        channel.queue_declare(f"{name}{queue}")
    for queue, key in bound:
        channel.queue_bind(f"{name}{queue}", name, key)
    for queue, key in unbound:
        channel.queue_unbind(f"{name}{queue}", name, key)
    for number, key in enumerate(keys):
        channel.basic_publish(name, key, str(number).encode())
    found: Copies = defaultdict(list)
    for queue in QUEUES:
        while (got := channel.basic_get(f"{name}{queue}", auto_ack=True))[0]:
            found[queue].append(int(got[2]))
        channel.queue_delete(f"{name}{queue}")
    return found


def in_dsjq(connection: Connection, name: str, kind: str, bound: list[Binding], unbound: list[Binding],
            keys: list[str]) -> Copies:
    commands: list[Any] = [routing.Declare(kind, name)]
    commands += [routing.Declare("queue", f"{name}{queue}") for queue in QUEUES]
    commands += [routing.Bind(f"{name}{queue}", name, key) for queue, key in bound]
    commands += [routing.Unbind(f"{name}{queue}", name, key) for queue, key in unbound]
    commands += [routing.Publish(name, key, str(number).encode()) for number, key in enumerate(keys)]
    for command in commands:
        try:
            connection.call(command)
        except Refused as problem:
            if problem.code != "UNROUTABLE":
                raise
    found: Copies = defaultdict(list)
    for queue in QUEUES:
        while isinstance(got := connection.call(m.Reserve(queue=f"{name}{queue}")), m.Reserved):
            connection.call(m.Ack(got.job))
            found[queue].append(int(got.payload))
    return found
