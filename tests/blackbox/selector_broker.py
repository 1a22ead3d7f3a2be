"""A correct broker that shares nothing with dsjq but the contract: the lab must find no fault with it.

It was written from "What any broker owes" in docs/protocol.md alone, and uses whatever freedom that page
leaves: one thread and a selector, ids that are no numbers, jobs that come back to any place in the queue,
leases that end when a sweep comes round, an ERROR for whoever acknowledges twice.

    python selector_broker.py --port 4730 --ack-timeout 30 [--max-attempts 5] [--journal FILE]
"""

import argparse
import os
import random
import secrets
import selectors
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path

SWEEP_S = 0.4  # leases end, and jobs come back, at the next sweep: well within the second that is allowed
LINE_MAX = 65_536


class Job:
    def __init__(self, id: str, payload: str) -> None:
        self.id, self.payload = id, payload
        self.deliveries = 0
        self.holder: Connection | None = None
        self.lease_end = 0.0


class Journal:
    """One line for each thing that must not be forgotten, on the disk before anybody is told of it."""

    def __init__(self, path: Path | None) -> None:
        self.file = path.open("a+b") if path else None
        self.jobs: dict[str, Job] = {}  # as the file left them
        if path:
            whole = path.read_bytes().rpartition(b"\n")
            os.truncate(path, len(whole[0] + whole[1]))  # what follows was being written at the crash
            for line in whole[0].decode().split("\n"):
                self._replay(*line.split(" ", 2))

    def _replay(self, what: str = "", id: str = "", payload: str = "") -> None:
        if what == "submitted":
            self.jobs[id] = Job(id, payload)
        elif what == "delivered":
            self.jobs[id].deliveries += 1
        elif what == "done":
            del self.jobs[id]

    def write(self, *words: str) -> None:
        if self.file:
            self.file.write((" ".join(words) + "\n").encode())
            self.file.flush()
            os.fsync(self.file.fileno())


class Queue:
    """A job waits, is leased, or rests until the next sweep. One that is done or dead is dropped."""

    def __init__(self, ack_timeout_s: float, max_attempts: int | None, journal: Journal) -> None:
        self.ack_timeout_s, self.max_attempts, self.journal = ack_timeout_s, max_attempts, journal
        self.waiting: list[Job] = []
        self.leased: dict[str, Job] = {}
        self.resting = list(journal.jobs.values())
        self.sweep()

    def submit(self, payload: str) -> str:
        job = Job(secrets.token_urlsafe(9), payload)
        self.journal.write("submitted", job.id, payload)
        self.waiting.append(job)
        return f"JOB_ID {job.id}"

    def request(self, asker: "Connection") -> str:
        if not self.waiting:
            return "EMPTY"
        job = self.waiting.pop(0)
        job.deliveries += 1
        self.journal.write("delivered", job.id)
        job.holder, job.lease_end = asker, time.monotonic() + self.ack_timeout_s
        self.leased[job.id] = job
        return f"JOB {job.id} {job.payload}"

    def settle(self, id: str, asker: "Connection", *, done: bool) -> str:
        job = self.leased.get(id)
        if job is None or job.holder is not asker:
            return "ERROR NOT_YOURS you do not hold this job"
        if done:
            self.journal.write("done", id)
        else:
            self.resting.append(job)
        del self.leased[id]
        return "OK"

    def leave(self, holder: "Connection") -> None:
        for job in [job for job in self.leased.values() if job.holder is holder]:
            self.resting.append(self.leased.pop(job.id))

    def sweep(self) -> None:
        now = time.monotonic()
        for job in [job for job in self.leased.values() if job.lease_end <= now]:
            self.resting.append(self.leased.pop(job.id))
        for job in self.resting:
            if self.max_attempts is None or job.deliveries < self.max_attempts:
                self.waiting.insert(random.randint(0, len(self.waiting)), job)
        self.resting.clear()


class Connection:
    """One client: bytes that came and are no whole line yet, and replies that have not left yet."""

    def __init__(self, sock: socket.socket, queue: Queue) -> None:
        self.sock, self.queue = sock, queue
        self.came = b""
        self.skipping = False  # the rest of a line that was too long
        self.replies = b""
        self.ended = False  # nothing more will come

    @property
    def over(self) -> bool:
        return self.ended and not self.replies

    def read(self) -> None:
        try:
            data = self.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.ended = not data
        *lines, self.came = (self.came + data).split(b"\n")
        for line in lines:
            self.replies += self._answer(line) + b"\n"
            self.skipping = False
        if len(self.came) > LINE_MAX + 1:  # one for a CR
            self.came, self.skipping = b"", True
        if self.ended:
            self.queue.leave(self)

    def write(self) -> None:
        try:
            self.replies = self.replies[self.sock.send(self.replies) :]
        except BlockingIOError:
            pass
        except OSError:
            self.ended, self.replies = True, b""
            self.queue.leave(self)

    def _answer(self, line: bytes) -> bytes:
        line = line.removesuffix(b"\r")
        if self.skipping or len(line) > LINE_MAX:
            return b"ERROR LINE_TOO_LONG"
        try:
            return self._carry_out(*line.decode().partition(" ")).encode()
        except UnicodeDecodeError:
            return b"ERROR NOT_UTF8"

    def _carry_out(self, command: str, _: str, rest: str) -> str:
        if command == "SUBMIT":
            return "ERROR BAD_ARGUMENTS a CR within the payload" if "\r" in rest else self.queue.submit(rest)
        if command == "REQUEST":
            return "ERROR BAD_ARGUMENTS REQUEST is all" if rest else self.queue.request(self)
        if command in ("ACK", "FAIL"):
            return self.queue.settle(rest, self, done=command == "ACK")
        return "ERROR UNKNOWN_COMMAND"


def serve(listener: socket.socket, queue: Queue) -> None:
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    next_sweep = time.monotonic() + SWEEP_S
    while True:
        for key, _ in selector.select(max(0.0, next_sweep - time.monotonic())):
            if key.data is None:
                with suppress(OSError):  # it has gone already
                    sock, _ = listener.accept()
                    sock.setblocking(False)
                    selector.register(sock, selectors.EVENT_READ, Connection(sock, queue))
                continue
            connection: Connection = key.data
            if not connection.replies:  # who does not read his replies is not heard
                connection.read()
            if connection.replies:
                connection.write()
            if connection.over:
                selector.unregister(connection.sock)
                connection.sock.close()
            else:
                events = selectors.EVENT_WRITE if connection.replies else selectors.EVENT_READ
                selector.modify(connection.sock, events, connection)
        if time.monotonic() >= next_sweep:
            queue.sweep()
            next_sweep = time.monotonic() + SWEEP_S


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ack-timeout", type=float, default=30.0, metavar="SECONDS")
    parser.add_argument("--max-attempts", type=int)
    parser.add_argument("--journal", type=Path, metavar="FILE")
    options = parser.parse_args()
    queue = Queue(options.ack_timeout, options.max_attempts, Journal(options.journal))
    listener = socket.create_server(("127.0.0.1", options.port), backlog=128)
    listener.setblocking(False)
    print(f"listening on 127.0.0.1:{listener.getsockname()[1]}", flush=True)
    serve(listener, queue)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # whatever was confirmed is on the disk already
    main()
