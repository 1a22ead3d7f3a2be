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

LONGEST = 65536


class Job:
    def __init__(self, number, payload):
        self.number = number
        self.payload = payload
        self.attempts = 0
        self.ends_at = 0.0

    def __lt__(self, other):
        return self.number < other.number


class Worker:
    """One connection, as the queue knows it."""

    def __init__(self):
        self.in_hand = {}  # id -> Job


class Queue:
    def __init__(self, ack_timeout_s, max_attempts):
        self.ack_timeout_s = ack_timeout_s
        self.max_attempts = max_attempts
        self.lock = threading.Lock()
        self.numbers = itertools.count(1)
        self.waiting = []  # a heap: the oldest job first
        self.workers = set()
        self.dead_letters = []

    # -- What clients ask for

    def submit(self, payload):
        with self.lock:
            job = Job(next(self.numbers), payload)
            heapq.heappush(self.waiting, job)
        return f"JOB_ID {job.number}"

    def request(self, worker):
        with self.lock:
            self._end_leases()
            if not self.waiting:
                return "EMPTY"
            job = heapq.heappop(self.waiting)
            job.attempts += 1
            job.ends_at = time.monotonic() + self.ack_timeout_s
            worker.in_hand[job.number] = job
            return f"JOB {job.number} {job.payload}"

    def ack(self, worker, number):
        with self.lock:
            self._end_leases()
            if number not in worker.in_hand:
                return "ERROR STALE you do not hold this job"
            del worker.in_hand[number]
            return "OK"

    def fail(self, worker, number):
        with self.lock:
            self._end_leases()
            if number not in worker.in_hand:
                return "ERROR STALE you do not hold this job"
            self._requeue(worker.in_hand.pop(number))
            return "OK"

    # -- Who comes and goes

    def join(self):
        worker = Worker()
        with self.lock:
            self.workers.add(worker)
        return worker

    def leave(self, worker):
        """Its connection has ended: what it holds goes to somebody else."""
        with self.lock:
            self.workers.discard(worker)
            for job in worker.in_hand.values():
                self._requeue(job)
            worker.in_hand.clear()

    # -- Inside the lock

    def _end_leases(self):
        """Jobs of workers that took too long are given back."""
        now = time.monotonic()
        for worker in self.workers:
            late = [job for job in worker.in_hand.values() if job.ends_at <= now]
            for job in late:
                del worker.in_hand[job.number]
                self._requeue(job)

    def _requeue(self, job):
        if job.attempts > self.max_attempts:
            self.dead_letters.append(job)
        else:
            heapq.heappush(self.waiting, job)


# -- Connections


def lines(conn):
    """The lines that a client sends, without their ends; what is not a whole line at its end is dropped."""
    rest = b""
    while data := conn.recv(65536):
        *whole, rest = (rest + data).split(b"\n")
        yield from (line.removesuffix(b"\r") for line in whole)
        if len(rest) > LONGEST:
            return


def answer(queue, worker, line):
    if len(line) > LONGEST:
        return "ERROR LINE_TOO_LONG"
    try:
        verb, _, rest = line.decode().partition(" ")
    except UnicodeDecodeError:
        return "ERROR NOT_UTF8"
    if verb == "SUBMIT" and "\r" not in rest:
        return queue.submit(rest)
    if verb == "REQUEST" and not rest:
        return queue.request(worker)
    if verb in ("ACK", "FAIL") and rest.isdecimal():
        settle = queue.ack if verb == "ACK" else queue.fail
        return settle(worker, int(rest))
    return "ERROR UNKNOWN_COMMAND"


def talk(conn, queue):
    worker = queue.join()
    try:
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for line in lines(conn):
            conn.sendall(answer(queue, worker, line).encode() + b"\n")
    except OSError as problem:
        print(f"a connection broke: {problem}", file=sys.stderr)
    finally:
        queue.leave(worker)
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
        threading.Thread(target=talk, args=[conn, queue], daemon=True).start()


if __name__ == "__main__":
    main()
