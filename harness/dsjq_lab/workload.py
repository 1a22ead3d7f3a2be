"""A client that tells what it knows: what it asks, before it asks, and what it then heard.

Producers and workers are processes of their own, and die like real ones. They report to the lab, line by
line: an `invoke` before the first byte leaves, then `ok` (the reply was read), `fail` (it definitely did not
happen) or `info` (nobody can say: a time-out, a closed connection). After an `info` the connection is never
used again, since its next reply may belong to the last question; each retry is a new operation.

Two things alone touch the laboratory: `record`, and `gate`, which waits at a named moment until the lab says
go, so that a fault can strike exactly there. The same file, unchanged, plays in the explored world.

Run as `python -S -I workload.py ROLE NUMBER CONFIG`. Standard library only: a worker that is killed every
400 ms must be back at once.
"""

import json
import os
import random
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

TIMEOUT_S_MAX = 5.0
RECONNECT_PAUSE_S = (0.02, 0.2)  # the first pause, doubled up to the last
POLL_INTERVAL_S = 0.02  # between two REQUESTs of a broker that cannot make them wait
AUDIT_INTERVAL_S = 0.25
PAGE = 500  # jobs asked for at once
Record = dict[str, Any]
WORDS = ("naïve", "café", "", "Ærø", "wait;", "straße", "東京", "--", "100%", "\t", "'quoted'", "\\n", "🐇")
COUNTS = ("submitted", "pending", "in_flight", "failed", "done", "dead")


def timeout_s(ack_timeout_s: float) -> float:
    """How long an operation may take: below half the lease, so that a holder knows in time that it waits."""
    return min(0.45 * ack_timeout_s, TIMEOUT_S_MAX)


class Refused(Exception):
    """ERROR …: it definitely did not happen."""


class Unknown(Exception):
    """It may have happened, or may yet: timeout, eof, reset, garbage."""


class Unreachable(Exception):
    """Nobody is there. Nothing of the operation has left, so it definitely did not happen."""


class Stopped(Exception):
    """The lab wants this client to finish."""


# -- To the lab -------------------------------------------------------------------------------------------


class Channel:
    """The line to the lab. When it breaks, the lab is gone, and so are we."""

    def __init__(self, fd: int, process: str, gates: list[str]) -> None:
        self.socket = socket.socket(fileno=fd)
        self.lines = self.socket.makefile("rb", buffering=0)
        self.process, self.gates = process, gates
        self.stop_asked = False

    def record(self, type: str, f: str, value: Record, error: str | None = None) -> None:
        moment = {"time_ns": time.monotonic_ns(), "process": self.process, "type": type, "f": f}
        self._send({**moment, "value": value, "error": error})

    def gate(self, name: str, job: str) -> None:
        if name in self.gates:
            self._send({"gate": name, "job": job})
            while self._hear() != b"go\n":
                pass

    def pause(self, seconds: float) -> None:
        """Sleeps, unless the lab wants us to stop: then raises Stopped."""
        if not self.stop_asked and select.select([self.socket], [], [], seconds)[0]:
            self._hear()
        if self.stop_asked:
            raise Stopped

    def _send(self, message: Record) -> None:
        try:
            self.socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            sys.exit("the lab is gone")

    def _hear(self) -> bytes:
        line = self.lines.readline()
        if not line:
            sys.exit("the lab is gone")
        self.stop_asked |= line == b"stop\n"
        return line


# -- To the broker ----------------------------------------------------------------------------------------


class LineClient:
    """One connection that speaks the line protocol: a question, its reply, within a time."""

    def __init__(self, port: int, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.socket = socket.create_connection(("127.0.0.1", port), timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, question: str) -> str:
        """The reply without its line end. Refused or Unknown if it is not what was hoped for."""
        deadline = time.monotonic() + self.timeout_s
        reply = b""
        try:
            self.socket.settimeout(self.timeout_s)
            self.socket.sendall(question.encode() + b"\n")
            while not reply.endswith(b"\n"):
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    raise TimeoutError
                self.socket.settimeout(left_s)
                data = self.socket.recv(65536)
                if not data:
                    raise Unknown("eof")
                reply += data
        except TimeoutError:
            raise Unknown("timeout") from None
        except OSError:
            raise Unknown("reset") from None
        text = reply[:-1].removesuffix(b"\r").decode("utf-8", "backslashreplace")
        if text.startswith("ERROR "):
            raise Refused(text)
        return text

    def close(self) -> None:
        self.socket.close()


class Client:
    """One client's way to the broker, over one connection after another. Every operation is recorded."""

    def __init__(self, channel: Channel, config: Record) -> None:
        self.channel, self.port, self.incarnation = channel, config["port"], config["incarnation"]
        self.timeout_s = timeout_s(config["ack_timeout_s"])
        self.wait_s = min(0.2, config["ack_timeout_s"] / 8)
        self.connections = 0
        self.line: LineClient | None = None
        self.has_tokens = False  # whether this broker speaks more than the four core commands
        self.pause_s = RECONNECT_PAUSE_S[0]

    @property
    def conn(self) -> str:
        return f"{self.channel.process}/{self.incarnation}.{self.connections}"

    def operate(
        self, f: str, value: Record, question: Callable[[], str], read: Callable[[str], Record]
    ) -> tuple[str, Record]:
        """Asks `question()` and `read`s the reply: (ok|refused|unknown|unreachable, the value)."""
        if self.line is None:
            self.connections += 1
        value = {**value, "conn": self.conn}
        self.channel.record("invoke", f, value)
        try:
            line = self.line or self._connect()
            reply = line.ask(question())
            value = {**value, **read(reply)}
        except Unreachable as why:
            self._lose("fail", f, value, f"UNREACHABLE {why}")
            return "unreachable", value
        except Refused as refusal:
            self.channel.record("fail", f, value, str(refusal))
            return "refused", value
        except Unknown as why:
            self._lose("info", f, value, str(why))
            return "unknown", value
        except (ValueError, KeyError):
            self._lose("info", f, value, f"garbage: {reply[:80]}")
            return "unknown", value
        self.channel.record("ok", f, value)
        return "ok", value

    def _connect(self) -> LineClient:
        """A new connection; by its greeting it is found out what the broker speaks."""
        try:
            line = self.line = LineClient(self.port, self.timeout_s)
            self.has_tokens = line.ask(f"HELLO name={self.channel.process.replace(' ', '-')}") == "OK"
        except Refused:
            self.has_tokens = False
        except (OSError, Unknown) as why:
            raise Unreachable(why) from None
        self.pause_s = RECONNECT_PAUSE_S[0]
        return line

    def _lose(self, type: str, f: str, value: Record, error: str) -> None:
        self.channel.record(type, f, value, error)
        if self.line is not None:
            self.line.close()
            self.line = None
        self.channel.pause(self.pause_s)
        self.pause_s = min(2 * self.pause_s, RECONNECT_PAUSE_S[1])

    def close(self) -> None:
        if self.line is not None:
            self.channel.record("info", "close", {"conn": self.conn})
            self.line.close()
            self.line = None


# -- The three roles --------------------------------------------------------------------------------------


def produce(client: Client, channel: Channel, config: Record) -> None:
    """Submits its jobs, `gap_s` apart. What may have arrived is not sent again: it could arrive twice."""
    start = time.monotonic()
    for position, job in enumerate(config["jobs"]):
        channel.pause(max(0.0, start + position * config["gap_s"] - time.monotonic()))
        dice = random.Random(f"{config['seed']} {job}")
        payload = " ".join([job, *dice.choices(WORDS, k=dice.randint(0, 8))]) + " " * dice.randint(0, 2)
        while not submit(client, channel, job, payload):
            pass  # the client has paused


def submit(client: Client, channel: Channel, job: str, payload: str) -> bool:
    """Whether the job is settled: not if it never left, because nobody was there to take it."""
    outcome, _ = client.operate(
        "submit", {"job": job, "payload": payload},
        lambda: f"SUBMIT {payload}", lambda reply: {"id": after("JOB_ID", reply)},
    )  # fmt: skip
    if outcome == "ok":
        channel.gate("submitted", job)
    return outcome != "unreachable"


def work(client: Client, channel: Channel, config: Record) -> None:
    """Takes a job, works, says how it went; until it is told to stop."""
    dice = random.Random(f"{config['seed']} {channel.process} {client.incarnation}")
    while True:
        channel.pause(0)
        outcome, job = client.operate("reserve", {}, lambda: reserve_question(client), delivery)
        if outcome != "ok":
            continue
        if job.get("empty"):
            channel.pause(0 if client.has_tokens else POLL_INTERVAL_S)
            continue
        channel.gate("delivered", job["job"])
        time.sleep(config["work_time_s"])
        settle(client, channel, job, "fail" if dice.random() < config["fail_rate"] else "ack")


def settle(client: Client, channel: Channel, job: Record, f: str) -> None:
    """Says how it went, on the connection that the job came by."""
    if f == "ack":
        channel.gate("before_ack", job["job"])
    question = f"{f.upper()} {job['id']} {job['token'] or ''}".rstrip()
    value = {name: job[name] for name in ("job", "id", "token")}
    outcome, _ = client.operate(f, value, lambda: question, nothing)
    if outcome == "ok":
        channel.gate("acked" if f == "ack" else "failed", job["job"])


def audit(client: Client, channel: Channel, config: Record) -> None:
    """Asks the broker what it has. A broker that refuses has no counts, and is asked no more."""
    dead: int | None = None
    try:
        while True:
            outcome, stats = client.operate("stats", {}, lambda: "STATS", counts)
            if outcome == "ok" and stats["dead"] != dead:
                dead = stats["dead"]
                list_dead(client)
            channel.pause(3600 if outcome == "refused" else AUDIT_INTERVAL_S)
    finally:
        if dead is not None:
            list_dead(client)


def list_dead(client: Client) -> None:
    """All of them, a page at a time: a dead job that is missing here would pass for a lost one."""
    page: Record = {"dead": [{"id": "0"}]}
    while page.get("dead"):
        after_id = page["dead"][-1]["id"]
        question = f"JOBS state=DEAD after={after_id} limit={PAGE}"
        _, page = client.operate("dead", {}, lambda question=question: question, dead_jobs)  # type: ignore[misc]


# -- Replies taken apart; ValueError or KeyError if they are not what they should be ----------------------


def reserve_question(client: Client) -> str:
    return f"RESERVE wait={client.wait_s:g}" if client.has_tokens else "REQUEST"


def delivery(reply: str) -> Record:
    if reply == "EMPTY":
        return {"empty": True}
    if reply.startswith("RESERVED "):
        head, payload = reply.split(" -- ", 1)
        options = dict(word.split("=", 1) for word in head.split(" ")[1:])
        lease: Record = {"id": options["id"], "token": options["token"], "attempt": int(options["attempt"])}
    else:
        id, payload = after("JOB", reply).split(" ", 1)
        lease = {"id": id, "token": None, "attempt": None}
    return {"job": payload.split(" ")[0], "payload": payload, **lease}


def after(word: str, reply: str) -> str:
    first, rest = reply.split(" ", 1)
    if first != word:
        raise ValueError(reply)
    return rest


def counts(reply: str) -> Record:
    stats = json.loads(after("STATS", reply))
    return {name: stats[name] for name in COUNTS}


def dead_jobs(reply: str) -> Record:
    jobs = json.loads(after("JOBS", reply))
    return {"dead": [{"id": str(job["id"]), "payload": job["payload"]} for job in jobs]}


def nothing(reply: str) -> Record:
    if not reply.startswith("OK"):
        raise ValueError(reply)
    return {}


ROLES = {"producer": produce, "worker": work, "auditor": audit}


def main(role: str, number: str, config: Record) -> None:
    process = f"{role} {number}" if role != "auditor" else role
    channel = Channel(int(os.environ["DSJQ_LAB_CHANNEL"]), process, config["gates"])
    signal.signal(signal.SIGTERM, lambda *_: setattr(channel, "stop_asked", True))
    client = Client(channel, config)
    with suppress(Stopped):
        ROLES[role](client, channel, config)
    client.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
