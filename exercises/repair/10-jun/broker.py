"""A job broker with short locks: one for the jobs that wait, one for the leases, and none held for long.

A job is in one of three places: in `waiting`, in `leases`, or nowhere, because it is done or dead. A thread
named "clock" ends the leases that ran out. All of it lives in memory.

    python3 broker.py --port 4730 --ack-timeout 30s --max-attempts 5
"""

import argparse
import collections
import itertools
import os
import signal
import socket
import threading
import time
from typing import NamedTuple

TICK_S = 0.1
LINE_MAX = 65536


class Job:
    def __init__(self, id, payload):
        self.id, self.payload, self.attempts = id, payload, 0


class Lease(NamedTuple):
    job: Job
    holder: "Connection"
    ends_at: float


class Broker:
    def __init__(self, ack_timeout_s, max_attempts):
        self.ack_timeout_s, self.max_attempts = ack_timeout_s, max_attempts
        self.ids = itertools.count(1)
        self.waiting_lock = threading.Lock()
        self.waiting = collections.deque()
        self.leases_lock = threading.Lock()
        self.leases = {}  # job id -> Lease

    def submit(self, payload):
        with self.waiting_lock:
            job = Job(str(next(self.ids)), payload)
            self.waiting.append(job)
        return job.id

    def request(self, holder):
        """The job that has waited longest, or None."""
        with self.waiting_lock:
            if not self.waiting:
                return None
            job = self.waiting.popleft()
            job.attempts += 1
            with self.leases_lock:
                self.leases[job.id] = Lease(job, holder, time.monotonic() + self.ack_timeout_s)
        return job

    def settle(self, id, holder, done):
        """Whether the job was the holder's to settle."""
        with self.leases_lock:
            lease = self.leases.get(id)
            if lease is None or lease.holder is not holder or lease.ends_at <= time.monotonic():
                return False
            del self.leases[id]
        if not done:
            self.give_back([lease.job])
        return True

    def end_leases(self, is_over):
        with self.leases_lock:
            over = [lease for lease in self.leases.values() if is_over(lease)]
            for lease in over:
                del self.leases[lease.job.id]
                self.give_back([lease.job])

    def give_back(self, jobs):
        """They go to the front, since they have waited before; the dead are dropped."""
        with self.waiting_lock:
            self.waiting.extendleft(job for job in reversed(jobs) if job.attempts < self.max_attempts)

    def watch(self):
        while True:
            time.sleep(TICK_S)
            self.end_leases(lambda lease: lease.ends_at <= time.monotonic())


class Connection:
    """One client and its thread."""

    def __init__(self, broker, conn):
        self.broker, self.conn = broker, conn

    def run(self):
        try:
            self.conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.listen()
        except OSError:
            pass  # a reset ends a session as any other end does
        finally:
            self.broker.end_leases(lambda lease: lease.holder is self)
            self.conn.close()

    def listen(self):
        heard = bytearray()
        while data := self.conn.recv(4096):
            heard += data
            while (end := heard.find(b"\n")) >= 0:
                line = bytes(heard[:end]).removesuffix(b"\r")
                del heard[: end + 1]
                self.conn.sendall(self.reply(line).encode() + b"\n")
            if len(heard) > LINE_MAX + 1:
                return

    def reply(self, line):
        try:
            words = line.decode()
        except UnicodeDecodeError:
            return "ERROR NOT_UTF8"
        command, _, rest = words.partition(" ")
        match command:
            case "SUBMIT" if "\r" not in rest and len(line) <= LINE_MAX:
                return f"JOB_ID {self.broker.submit(rest)}"
            case "REQUEST" if not rest:
                job = self.broker.request(self)
                return f"JOB {job.id} {job.payload}" if job else "EMPTY"
            case "ACK" | "FAIL" if rest:
                settled = self.broker.settle(rest, self, done=command == "ACK")
                return "OK" if settled else "ERROR NOT_YOURS"
        return "ERROR BAD_COMMAND"


def duration(text):
    return float(text.rstrip("s"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ack-timeout", type=duration, default=30.0)
    parser.add_argument("--max-attempts", type=int, default=5)
    args, _ = parser.parse_known_args()
    broker = Broker(args.ack_timeout, args.max_attempts)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    threading.Thread(target=broker.watch, name="clock", daemon=True).start()
    with socket.create_server((args.host, args.port), backlog=128) as listener:
        print(f"listening on {args.host}:{listener.getsockname()[1]}", flush=True)
        while True:
            conn, _ = listener.accept()
            threading.Thread(target=Connection(broker, conn).run, daemon=True).start()


if __name__ == "__main__":
    main()
