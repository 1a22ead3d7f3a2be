"""A job broker without locks around its jobs: one thread, the owner, does everything, in turn.

The threads of the connections read lines, put them into the owner's mailbox, and wait for the answer. So
nobody ever sees a job in the middle of a change. Everything is kept in memory.

    python3 broker.py --port 4730 --ack-timeout 30s --max-attempts 5
"""

import argparse
import collections
import contextlib
import os
import signal
import socket
import threading
import time

LINE_MAX = 65536


class Letter:
    """Something that a client wants, and room for the answer."""

    def __init__(self, sender, words):
        self.sender, self.words = sender, words
        self.answer = ""
        self.answered = threading.Event()


class Mailbox:
    def __init__(self):
        self.letters = collections.deque()
        self.bell = threading.Condition()
        self.asleep = False  # nobody needs to ring for an owner who is at work

    def put(self, letter):
        self.letters.append(letter)
        if self.asleep:
            self.asleep = False
            with self.bell:
                self.bell.notify()

    def take(self):
        """The oldest letter; waits for one."""
        while not self.letters:
            self.asleep = True
            with self.bell:
                self.bell.wait()
        return self.letters.popleft()


class Job:
    def __init__(self, id, payload):
        self.id, self.payload, self.attempts = id, payload, 0


class Owner:
    """Runs in one thread, and is the only one to touch what follows."""

    def __init__(self, ack_timeout_s, max_attempts):
        self.ack_timeout_s, self.max_attempts = ack_timeout_s, max_attempts
        self.mailbox = Mailbox()
        self.submitted = 0
        self.queue = collections.deque()
        self.out = {}  # id -> (job, its holder, until when)

    def run(self):
        commands = {"SUBMIT": self.submit, "REQUEST": self.request, "ACK": self.ack, "FAIL": self.fail}
        while True:
            letter = self.mailbox.take()
            self.call_in(late=time.monotonic())
            verb, _, rest = letter.words.partition(" ")
            if verb == "GONE":
                self.call_in(holder=letter.sender)
            elif verb in commands:
                letter.answer = commands[verb](letter.sender, rest)
            else:
                letter.answer = "ERROR UNKNOWN_COMMAND"
            letter.answered.set()

    def submit(self, sender, payload):
        if "\r" in payload:
            return "ERROR BAD_PAYLOAD"
        self.submitted += 1
        self.queue.append(Job(f"{self.submitted}", payload))
        return f"JOB_ID {self.submitted}"

    def request(self, sender, rest):
        if rest:
            return "ERROR BAD_ARGUMENTS"
        if not self.queue:
            return "EMPTY"
        job = self.queue.popleft()
        job.attempts += 1
        self.out[job.id] = (job, sender, time.monotonic() + self.ack_timeout_s)
        return f"JOB {job.id} {job.payload}"

    def ack(self, sender, id):
        return "OK" if self.settled(sender, id) else "ERROR STALE"

    def fail(self, sender, id):
        job = self.settled(sender, id)
        if job:
            self.give_back(job)
        return "OK" if job else "ERROR STALE"

    def settled(self, sender, id):
        """The job, which is the sender's no more; None if it was not."""
        job, holder, _ = self.out.get(id, (None, None, 0))
        if holder is not sender:
            return None
        del self.out[id]
        return job

    def call_in(self, late=0.0, holder=None):
        for job, whose, until in list(self.out.values()):
            if until <= late or whose is holder:
                del self.out[job.id]
                self.give_back(job)

    def give_back(self, job):
        if job.attempts < self.max_attempts:
            self.queue.appendleft(job)


class Visitor:
    def __init__(self, owner, conn):
        self.owner, self.conn = owner, conn

    def run(self):
        with contextlib.suppress(OSError):
            self.conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.listen()
        self.owner.mailbox.put(Letter(self, "GONE"))
        self.conn.close()

    def listen(self):
        heard = b""
        while data := self.conn.recv(16384):
            heard += data
            *lines, heard = heard.split(b"\n")
            for line in lines:
                self.conn.sendall(self.ask(line.removesuffix(b"\r")).encode() + b"\n")
            if len(heard) > LINE_MAX:
                return

    def ask(self, line):
        try:
            letter = Letter(self, line.decode())
        except UnicodeDecodeError:
            return "ERROR NOT_UTF8"
        if letter.words == "GONE":
            return "ERROR UNKNOWN_COMMAND"
        self.owner.mailbox.put(letter)
        letter.answered.wait()
        return letter.answer


def main():
    parser = argparse.ArgumentParser(description="A job broker with one owner.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=4730)
    parser.add_argument("--ack-timeout", default="30s")
    parser.add_argument("--max-attempts", type=int, default=5)
    args, _ = parser.parse_known_args()
    owner = Owner(float(args.ack_timeout.removesuffix("s")), args.max_attempts)
    threading.Thread(target=owner.run, daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    listener = socket.create_server((args.host, args.port), backlog=128)
    print(f"listening on {args.host}:{listener.getsockname()[1]}", flush=True)
    while True:
        conn, _ = listener.accept()
        threading.Thread(target=Visitor(owner, conn).run, daemon=True).start()


if __name__ == "__main__":
    main()
