"""Honest clients among clumsy and hostile ones: `python -m bench siege [--for S] [--rounds R]`.

Honest are 200 connections, each of which submits a job, takes one and acknowledges it, again and again. The
siege is a thousand connections that are silent, 500 that send a byte a second and never finish a command
(slow loris), and 50 that ask for much and read nothing; whoever is thrown out comes back at once. Both are
processes of their own. A round is a while without the siege and a while with it; quote the ratio.
"""
import argparse
import json
import multiprocessing
import resource
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

BUSY, IDLE, LORIS, DEAF = 200, 1000, 500, 50
GOAL = 0.7  # of their undisturbed throughput
CONNECTIONS = 4 * (BUSY + IDLE + LORIS + DEAF)
MANY = ("--connections", f"{CONNECTIONS}", "--connections-per-address", f"{CONNECTIONS}")
LORIS_PAUSE_S = 1.0
DEAF_BUFFER = 8192
DEAF_QUESTIONS = b"STATS\n" * 500
Address = tuple[str, int]


@contextmanager
def broker(*options: str) -> Iterator[tuple[Address, int]]:
    """Its address and its process id."""
    serve = [sys.executable, "-m", "dsjq", "serve", "--port", "0", *options]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            host, _, port = process.stdout.readline().split()[-1].rpartition(":")
            yield (host, int(port)), process.pid
        finally:
            process.kill()


def room() -> None:
    """For as many connections as there may be."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, CONNECTIONS), hard))


# ---- The honest


class Honest:
    """One connection, which always waits for exactly one answer."""

    def __init__(self, address: Address):
        self.socket = socket.create_connection(address, 30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.heard, self.done = b"", 0
        self.socket.sendall(b"SUBMIT honest\n")

    def go_on(self) -> None:
        """Hears, and asks the next question. Nothing but what it hopes for may be answered."""
        data = self.socket.recv(65536)
        assert data, "the broker has closed an honest connection"
        self.heard += data
        if not self.heard.endswith(b"\n"):
            return
        words, self.heard = self.heard.split(b" ", 2), b""
        if words[0] == b"JOB":
            question = b"ACK " + words[1] + b"\n"
        elif words[0] == b"OK\n":
            self.done += 1
            question = b"SUBMIT honest\n"
        else:
            assert words[0] == b"JOB_ID", words
            question = b"REQUEST\n"
        self.socket.sendall(question)


def be_honest(address: Address, seconds: float, told: Any) -> None:
    """Tells how many jobs a second were done."""
    room()
    selector = selectors.DefaultSelector()
    clients = [Honest(address) for _ in range(BUSY)]
    for client in clients:
        selector.register(client.socket, selectors.EVENT_READ, client)
    start = time.monotonic()
    while (now := time.monotonic()) < start + seconds:
        for key, _ in selector.select(1.0):
            key.data.go_on()
    told.send(sum(client.done for client in clients) / (now - start))


# ---- The siege


def connected(address: Address) -> socket.socket:
    opened = socket.socket()
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, DEAF_BUFFER)  # before it connects
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, DEAF_BUFFER)
    opened.settimeout(30)
    opened.connect(address)
    opened.setblocking(False)
    return opened


def besiege(address: Address, told: Any) -> None:
    """Until it is killed; tells when all are there."""
    room()
    idle = [connected(address) for _ in range(IDLE)]
    loris = [connected(address) for _ in range(LORIS)]
    deaf = [connected(address) for _ in range(DEAF)]
    told.send(len(idle) + len(loris) + len(deaf))
    while True:
        for group, said in ((loris, b"S"), (deaf, DEAF_QUESTIONS)):
            for place, one in enumerate(group):
                try:
                    with suppress(BlockingIOError):
                        one.send(said)
                except OSError:
                    one.close()
                    group[place] = connected(address)
        time.sleep(LORIS_PAUSE_S)


# ---- Measuring


def pace(address: Address, seconds: float) -> float:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=be_honest, args=(address, seconds, theirs))
    process.start()
    theirs.close()
    jobs_per_s: float = ours.recv()
    process.join()
    return jobs_per_s


def round_of(seconds: float) -> tuple[float, float]:
    """Jobs per second without the siege, and under it."""
    with broker(*MANY) as (address, _):
        calm = pace(address, seconds)
        ours, theirs = multiprocessing.Pipe()
        siege = multiprocessing.Process(target=besiege, args=(address, theirs))
        siege.start()
        try:
            ours.recv()
            return calm, pace(address, seconds)
        finally:
            siege.kill()
            siege.join()


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench siege", description=__doc__)
    parser.add_argument("--for", type=float, default=20.0, dest="seconds", metavar="S", help="each half")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nobody is left behind
    rounds = [round_of(options.seconds) for _ in range(options.rounds)]
    for calm, under_siege in rounds:
        print(json.dumps({"calm_jobs_per_s": round(calm), "under_siege": round(under_siege),
                          "ratio": round(under_siege / calm, 2)}), flush=True)
    ratio = statistics.median(under_siege / calm for calm, under_siege in rounds)
    print(json.dumps({"ratio": round(ratio, 2), "to_reach": GOAL}))
    return 0 if ratio >= GOAL else 1
