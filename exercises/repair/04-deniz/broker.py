"""A job broker in one file: a heap of jobs that wait, a table of those that are lent, one lock around both.

Each connection has a thread of its own. Everything is kept in memory, so a restart begins with nothing.

    python3 broker.py --port 4730 --ack-timeout 30s --max-attempts 5
"""

import argparse
import heapq
import itertools
import signal
import socket
import sys
import threading
import time

LINE_MAX = 65536


class Job:
    def __init__(self, key, payload):
        self.key = key
        self.payload = payload
        self.attempts = 0
        self.lent_until = 0.0

    def __lt__(self, other):
        return self.key < other.key


class Peer:
    """One connection, as the queue knows it."""

    def __init__(self):
        self.holding = {}  # id -> Job


class Queue:
    def __init__(self, ack_timeout_s, max_attempts):
        self.ack_timeout_s = ack_timeout_s
        self.max_attempts = max_attempts
        self.lock = threading.Lock()
        self.keys = itertools.count(1)
        self.pending = []  # a heap: the oldest job first
        self.peers = set()
        self.dead = []

    # -- What clients ask for

    def submit(self, payload):
        with self.lock:
            job = Job(next(self.keys), payload)
            heapq.heappush(self.pending, job)
        return f"JOB_ID {job.key}"

    def request(self, peer):
        with self.lock:
            self._end_leases()
            if not self.pending:
                return "EMPTY"
            job = heapq.heappop(self.pending)
            job.attempts += 1
            job.lent_until = time.monotonic() + self.ack_timeout_s
            peer.holding[job.key] = job
            return f"JOB {job.key} {job.payload}"

    def ack(self, peer, key):
        with self.lock:
            self._end_leases()
            if key not in peer.holding:
                return "ERROR STALE you do not hold this job"
            del peer.holding[key]
            return "OK"

    def fail(self, peer, key):
        with self.lock:
            self._end_leases()
            if key not in peer.holding:
                return "ERROR STALE you do not hold this job"
            self._give_back(peer.holding.pop(key))
            return "OK"

    # -- Who comes and goes

    def join(self):
        peer = Peer()
        with self.lock:
            self.peers.add(peer)
        return peer

    def leave(self, peer):
        """Its connection has ended: what it holds goes to somebody else."""
        with self.lock:
            self.peers.discard(peer)
            for job in peer.holding.values():
                self._give_back(job)
            peer.holding.clear()

    # -- Inside the lock

    def _end_leases(self):
        """Jobs of workers that took too long are given back."""
        now = time.monotonic()
        for peer in self.peers:
            late = [job for job in peer.holding.values() if job.lent_until <= now]
            for job in late:
                del peer.holding[job.key]
                self._give_back(job)

    def _give_back(self, job):
        if job.attempts >= self.max_attempts:
            self.dead.append(job)
        else:
            heapq.heappush(self.pending, job)


# -- Connections


def lines(conn):
    """The lines that a client sends, without their ends; what is not a whole line at its end is dropped."""
    rest = b""
    while data := conn.recv(65536):
        *whole, rest = (rest + data).split(b"\n")
        yield from (line.removesuffix(b"\r") for line in whole)
        if len(rest) > LINE_MAX:
            return


def answer(queue, peer, line):
    if len(line) > LINE_MAX:
        return "ERROR LINE_TOO_LONG"
    try:
        verb, _, rest = line.decode().partition(" ")
    except UnicodeDecodeError:
        return "ERROR NOT_UTF8"
    if verb == "SUBMIT" and "\r" not in rest:
        return queue.submit(rest)
    if verb == "REQUEST" and not rest:
        return queue.request(peer)
    if verb in ("ACK", "FAIL") and rest.isdecimal():
        settle = queue.ack if verb == "ACK" else queue.fail
        return settle(peer, int(rest))
    return "ERROR UNKNOWN_COMMAND"


def serve(conn, queue):
    peer = queue.join()
    try:
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for line in lines(conn):
            conn.sendall(answer(queue, peer, line).encode() + b"\n")
        queue.leave(peer)
    except OSError as problem:
        print(f"a connection broke: {problem}", file=sys.stderr)
    finally:
        conn.close()


def seconds(text):
    return float(text.removesuffix("s"))


def main():
    parser = argparse.ArgumentParser(description="A small job broker.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=4730)
    parser.add_argument("--ack-timeout", type=seconds, default=30.0, metavar="30s")
    parser.add_argument("--max-attempts", type=int, default=5)
    options, _ = parser.parse_known_args()
    queue = Queue(options.ack_timeout, options.max_attempts)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    listener = socket.create_server((options.host, options.port), backlog=128)
    print(f"listening on {options.host}:{listener.getsockname()[1]}", flush=True)
    while True:
        conn, _ = listener.accept()
        threading.Thread(target=serve, args=[conn, queue], daemon=True).start()


if __name__ == "__main__":
    main()
