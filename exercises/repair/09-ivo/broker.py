"""A job broker that keeps its jobs in a journal: what it says is on the disk before it says so.

The journal is a file of lines, one for each thing that happened to a job, each with a checksum in front.
A broker that starts reads it from the beginning, and knows all that the last one knew. Whoever changes
something writes its line under the lock, leaves the lock, and waits outside until the line is safe; of
those that wait, one syncs for all.

    python3 broker.py --port 4730 --ack-timeout 30s --max-attempts 5 [--data DIR]
"""

import argparse
import os
import signal
import socket
import sys
import threading
import time
import zlib

FILE = "jobs.journal"
LINE_MAX = 65536


class StorageError(Exception):
    """Nothing was written."""


def sealed(text):
    body = text.encode()
    return b"%08x %s\n" % (zlib.crc32(body), body)


def opened(line):
    """The text of a journal line; None if it is not sound."""
    checksum, _, body = line.removesuffix(b"\n").partition(b" ")
    sound = line.endswith(b"\n") and checksum == b"%08x" % zlib.crc32(body)
    return body.decode() if sound else None


class Journal:
    def __init__(self, folder):
        """Without a folder nothing is kept."""
        self.fd = None
        self.records = []  # what the last broker left
        self.sync_lock = threading.Lock()
        self.size = self.safe_size = 0  # bytes
        if folder:
            os.makedirs(folder, exist_ok=True)
            path = os.path.join(folder, FILE)
            self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            self.sync_folder(folder)
            self.recover(path)

    def sync_folder(self, folder):
        """A new file's name is safe only when its folder is."""
        fd = os.open(folder, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)

    def recover(self, path):
        with open(path, "rb") as file:
            for line in file:
                text = opened(line)
                if text is not None:
                    self.records.append(text)
                self.size += len(line)
        os.fsync(self.fd)
        self.safe_size = self.size

    def write(self, text):
        """The position up to which all must be safe before anybody is told. Under the broker's lock."""
        if self.fd is not None:
            line = sealed(text)
            try:
                if os.write(self.fd, line) < len(line):
                    raise OSError("a short write")
            except OSError as problem:
                os.ftruncate(self.fd, self.size)
                raise StorageError(str(problem)) from None
            self.size += len(line)
        return self.size

    def sync(self, position):
        with self.sync_lock:
            if self.safe_size >= position:
                return
            reached = self.size
            try:
                os.fsync(self.fd)
            except OSError as problem:
                print(f"the disk failed: {problem}", file=sys.stderr, flush=True)
                os._exit(74)
            self.safe_size = reached


class Job:
    def __init__(self, id, payload):
        self.id, self.payload = id, payload
        self.attempts = 0
        self.holder = None  # the connection that it is leased to
        self.lease_ends = 0.0


class Broker:
    def __init__(self, journal, ack_timeout_s, max_attempts):
        self.journal, self.ack_timeout_s, self.max_attempts = journal, ack_timeout_s, max_attempts
        self.lock = threading.Lock()
        self.jobs = {}  # all that are neither done nor dead, in the order of their ids
        self.last_id = 0
        for text in journal.records:
            self.replay(*text.split(" ", 2))

    def replay(self, what, id, payload=""):
        if what == "submitted":
            self.jobs[int(id)] = Job(int(id), payload)
            self.last_id = int(id)
        elif what == "taken":
            self.jobs[int(id)].attempts += 1
        else:
            del self.jobs[int(id)]

    def submit(self, payload):
        with self.lock:
            position = self.journal.write(f"submitted {self.last_id + 1} {payload}")
            self.last_id += 1
            job = self.jobs[self.last_id] = Job(self.last_id, payload)
        self.journal.sync(position)
        return f"JOB_ID {job.id}"

    def request(self, asker):
        with self.lock:
            now = time.monotonic()
            self.end_leases(lambda job: job.lease_ends <= now)
            job = next((job for job in self.jobs.values() if job.holder is None), None)
            if job is None:
                return "EMPTY"
            position = self.journal.write(f"taken {job.id}")
            job.attempts += 1
            job.holder, job.lease_ends = asker, now + self.ack_timeout_s
        self.journal.sync(position)
        return f"JOB {job.id} {job.payload}"

    def settle(self, asker, id, done):
        with self.lock:
            job = self.jobs.get(id)
            if job is None or job.holder is not asker or job.lease_ends <= time.monotonic():
                return "ERROR STALE"
            position = self.journal.size
            if done:
                position = self.journal.write(f"done {id}")
                del self.jobs[id]
            else:
                self.requeue(job)
        self.journal.sync(position)
        return "OK"

    def leave(self, asker):
        with self.lock:
            self.end_leases(lambda job: job.holder is asker)

    def end_leases(self, is_over):
        for job in [job for job in self.jobs.values() if job.holder is not None and is_over(job)]:
            self.requeue(job)

    def requeue(self, job):
        job.holder = None
        if job.attempts >= self.max_attempts:
            self.journal.write(f"died {job.id}")
            del self.jobs[job.id]


def carry_out(broker, asker, line):
    command, _, rest = line.decode().partition(" ")
    if command == "SUBMIT" and "\r" not in rest:
        return broker.submit(rest)
    if command == "REQUEST" and not rest:
        return broker.request(asker)
    if command in ("ACK", "FAIL") and rest.isdecimal():
        return broker.settle(asker, int(rest), done=command == "ACK")
    return "ERROR UNKNOWN_COMMAND"


def serve(broker, conn):
    unfinished = b""
    try:
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := conn.recv(65536):
            *lines, unfinished = (unfinished + data).split(b"\n")
            for line in lines:
                try:
                    reply = carry_out(broker, conn, line.removesuffix(b"\r"))
                except UnicodeDecodeError:
                    reply = "ERROR NOT_UTF8"
                except StorageError as problem:
                    reply = f"ERROR STORAGE {problem}"
                conn.sendall(reply.encode() + b"\n")
            if len(unfinished) > LINE_MAX:
                break
    except OSError:
        pass  # a reset is an end like any other
    broker.leave(conn)
    conn.close()


def main():
    parser = argparse.ArgumentParser(description="A job broker with a journal.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=4730)
    parser.add_argument("--ack-timeout", type=lambda text: float(text.removesuffix("s")), default=30.0)
    parser.add_argument("--max-attempts", type=int, default=5)
    parser.add_argument("--data", metavar="DIR", help="where the journal is kept")
    options, _ = parser.parse_known_args()
    broker = Broker(Journal(options.data), options.ack_timeout, options.max_attempts)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    listener = socket.create_server((options.host, options.port), backlog=128)
    print(f"listening on {options.host}:{listener.getsockname()[1]}", flush=True)
    while True:
        conn, _ = listener.accept()
        threading.Thread(target=serve, args=[broker, conn], daemon=True).start()


if __name__ == "__main__":
    main()
