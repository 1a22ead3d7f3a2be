"""A client that tells what it knows: what it asks, before it asks, and what it then heard.

Producers and workers are processes of their own, and die like real ones. They report to the lab, line by
line: an `invoke` before the first byte leaves, then `ok` (the reply was read), `fail` (it definitely did not
happen) or `info` (nobody can say: a time-out, a closed connection). After an `info` the connection is never
used again, since its next reply may belong to the last question; each retry is a new operation. Connecting is
an operation of its own, so what is invoked has a connection to leave by.

Few things touch the laboratory (Channel): `record`; `gate`, which waits at a named moment until the lab says
go, so that a fault can strike exactly there; `write`, by which finished work has its effect on the lab's
ledger; `pause` and `hear`, which listen for its words. The same file, unchanged, plays in the explored world.

Run as `python -S -I workload.py ROLE NUMBER CONFIG`. Standard library only: a worker that is killed every
400 ms must be back at once.
"""

import json
import math
import os
import random
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

TIMEOUT_S_MAX = 5.0
RECONNECT_PAUSE_S = (0.02, 0.2)  # the first pause, doubled up to the last
POLL_INTERVAL_S = 0.02  # between two REQUESTs of a broker that cannot make them wait
RENEWALS = 3  # in the length of a lease
PAGE = 500  # jobs asked for at once
LAST_TRIES = 3
SHOWN = 80  # letters of a broken reply
Record = dict[str, Any]
WORDS = ("naïve", "café", "", "Ærø", "wait;", "straße", "東京", "--", "100%", "\t", "'quoted'", "\\n", "🐇")
SECRET = "DSJQ_LAB_SECRET"  # environment variable: that of the user who a client is told to be
NOT_NOW = "ERROR DRAINING"  # refused, and welcome again when the broker is back
COUNTS = ("submitted", "delayed", "pending", "in_flight", "failed", "done", "dead")


def timeout_s(ack_timeout_s: float) -> float:
    """How long an operation may take: below half the lease, so that a holder knows in time that it waits."""
    return min(0.45 * ack_timeout_s, TIMEOUT_S_MAX)


class Refused(Exception):
    """ERROR …: it definitely did not happen."""


class Unknown(Exception):
    """It may have happened, or may yet: timeout, eof, reset, garbage."""


class Stopped(Exception):
    """The lab wants this client to finish."""


# -- To the lab -------------------------------------------------------------------------------------------


class Channel:
    """The line to the lab. When it breaks, the lab is gone, and so are we.

    The lab says `go` to one who waits for it, and `done` or `fenced off` of an effect. Other words are
    wishes, remembered until they are granted: `stop`, `hang` (a worker's handler), `kick` (the auditor).
    """

    def __init__(self, fd: int, process: str, gates: list[str]) -> None:
        self.socket = socket.socket(fileno=fd)
        self.lines = self.socket.makefile("rb", buffering=0)
        self.process, self.gates = process, gates
        self.wishes: set[str] = set()

    def record(self, type: str, f: str, value: Record, error: str | None = None) -> None:
        moment = {"time_ns": time.monotonic_ns(), "process": self.process, "type": type, "f": f}
        self._send({**moment, "value": value, "error": error})

    def gate(self, name: str, job: str) -> None:
        if name in self.gates:
            self.announce(name, job)
            self._await("go")

    def announce(self, name: str, job: str) -> None:
        self._send({"gate": name, "job": job})

    def write(self, effect: Record) -> bool:
        """Whether it is in the ledger now; not if the ledger was fenced off against us."""
        self._send({"effect": effect})
        return self._await("done", "fenced off") == "done"

    def pause(self, seconds: float) -> None:
        """Sleeps, unless the lab wants us to stop: then raises Stopped."""
        if "stop" not in self.wishes:
            self.hear(seconds)
        if "stop" in self.wishes:
            raise Stopped

    def hear(self, seconds: float = math.inf) -> str:
        """The lab's next word; an empty one if none has come in that time."""
        if not select.select([self.socket], [], [], None if seconds == math.inf else seconds)[0]:
            return ""
        line = self.lines.readline()
        if not line:
            sys.exit("the lab is gone")
        word = line.decode().rstrip()
        if word in ("stop", "hang", "kick"):
            self.wishes.add(word)
        return word

    def _await(self, *words: str) -> str:
        while (word := self.hear()) not in words:
            pass
        return word

    def _send(self, message: Record) -> None:
        try:
            self.socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            sys.exit("the lab is gone")


# -- To the broker ----------------------------------------------------------------------------------------


class LineClient:
    """One connection that speaks the line protocol: a question, its reply, within a time."""

    def __init__(self, config: Record, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.socket = socket.create_connection(("127.0.0.1", config["port"]), timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.nothing_yet: type[OSError] = BlockingIOError  # raised by one who was asked not to wait
        if config.get("ca"):
            self.socket, self.nothing_yet = through_tls(self.socket, config["ca"])
        if config.get("user"):
            self.say_who(config["user"], os.environ[SECRET])

    def say_who(self, user: str, secret: str) -> None:
        """Raises OSError if that user is not let in; it has no word of what was said to the secret."""
        try:
            self.ask(f"AUTH {user} {secret}")
        except Refused as refusal:
            raise OSError(f"AUTH {user}: {' '.join(str(refusal).split(' ')[:2])}") from None

    def ask(self, question: str, sent: Callable[[], None] = lambda: None) -> str:
        """The reply without its line end. Refused or Unknown if it is not what was hoped for."""
        try:
            self._expect_silence()
            self.socket.settimeout(self.timeout_s)
            self.socket.sendall(self.encode(question))
            sent()
            reply, rest = self._read()
        except TimeoutError:
            raise Unknown("timeout") from None
        except OSError:
            raise Unknown("reset") from None
        if rest:
            raise Unknown(f"extra: {shown(rest)}")
        text = reply.removesuffix(b"\r").decode("utf-8", "backslashreplace")
        if text.startswith("ERROR "):
            raise Refused(text)
        return text

    def encode(self, question: str) -> bytes:
        return question.encode() + b"\n"

    def cut(self, data: bytes) -> tuple[bytes, bytes] | None:
        """The first reply and the rest; None while that has not arrived."""
        reply, end, rest = data.partition(b"\n")
        return (reply, rest) if end else None

    def _read(self) -> tuple[bytes, bytes]:
        """A whole reply, and whatever came with it."""
        deadline = time.monotonic() + self.timeout_s
        data = b""
        while not (found := self.cut(data)):
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            self.socket.settimeout(left_s)
            more = self.socket.recv(65536)
            if not more:
                raise Unknown("eof")
            data += more
        return found

    def _expect_silence(self) -> None:
        """What is here before the question was asked is no reply to it."""
        if not select.select([self.socket], [], [], 0)[0]:
            return
        self.socket.settimeout(0)
        with suppress(self.nothing_yet):  # TLS also says things for itself
            if data := self.socket.recv(65536):
                raise Unknown(f"extra: {shown(data)}")

    def close(self) -> None:
        self.socket.close()


def through_tls(opened: socket.socket, authority: str) -> tuple[socket.socket, type[OSError]]:
    """Through it; and what it raises where another one raises BlockingIOError."""
    import ssl  # takes as long as all the rest of a start, and few need it

    trusting = ssl.create_default_context(cafile=authority)
    return trusting.wrap_socket(opened, server_hostname="127.0.0.1"), ssl.SSLWantReadError


class Connection(Protocol):
    """What takes questions: lines; or what is in clients/, frames and the libraries of real brokers."""

    def ask(self, question: str, sent: Callable[[], None] = ...) -> str: ...
    def close(self) -> None: ...


Speak = Callable[[Record, float], Connection]  # of (config, timeout_s)


class Client:
    """One client's way to the broker, over one connection after another. Every operation is recorded."""

    def __init__(self, channel: Channel, config: Record, speak: Speak = LineClient) -> None:
        self.channel, self.config, self.speak = channel, config, speak
        self.incarnation = config["incarnation"]
        self.timeout_s = timeout_s(config["ack_timeout_s"])
        self.wait_s = config["wait_s"]  # for a job, at the broker
        self.core = config["core"]  # a broker of the four core commands is not greeted
        self.connections = 0
        self.line: Connection | None = None
        self.refusal = ""  # the last
        self.has_tokens = False  # whether this broker speaks more than the four core commands
        self.pause_s = RECONNECT_PAUSE_S[0]

    @property
    def conn(self) -> str:
        return f"{self.channel.process}/{self.incarnation}.{self.connections}"

    def operate(
        self,
        f: str,
        value: Record,
        question: Callable[[], str],
        read: Callable[[str], Record],
        sent: Callable[[], None] = lambda: None,
    ) -> tuple[str, Record]:
        """Asks `question()` and `read`s the reply: (ok|refused|unknown|unreachable, the value).

        `sent` is called when the question has left. Nothing is invoked if nobody was there to be asked.
        """
        line = self.line or self._connect()
        if line is None:
            return "unreachable", value
        value = {**value, "conn": self.conn}
        self.channel.record("invoke", f, value)
        try:
            reply = line.ask(question(), sent)
            value = {**value, **read(reply)}
        except Refused as refusal:
            self.refusal = str(refusal)
            self.channel.record("fail", f, value, self.refusal)
            return "refused", value
        except Unknown as why:
            self._lose("info", f, value, str(why))
            return "unknown", value
        except (ValueError, KeyError, TypeError):
            self._lose("info", f, value, f"garbage: {reply[:SHOWN]}")
            return "unknown", value
        self.channel.record("ok", f, value)
        return "ok", value

    def _connect(self) -> Connection | None:
        """A new connection; by its greeting it is found out what the broker speaks."""
        self.connections += 1
        value = {"conn": self.conn}
        self.channel.record("invoke", "connect", value)
        try:
            line = self.line = self.speak(self.config, self.timeout_s)
            greeting = None if self.core else self._greet(line)
        except (OSError, Unknown) as why:
            self._lose("fail", "connect", value, f"UNREACHABLE {why}")
            return None
        self.has_tokens = greeting == "OK"
        self.channel.record("ok", "connect", {**value, "greeting": greeting})
        self.pause_s = RECONNECT_PAUSE_S[0]
        return line

    def _greet(self, line: Connection) -> str:
        try:
            return line.ask(f"HELLO name={self.channel.process.replace(' ', '-')}")
        except Refused as refusal:
            return str(refusal)
        except Unknown as why:
            if not str(why).startswith("extra"):
                raise
            return str(why)  # it talks too much, but it talks

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


# -- The roles --------------------------------------------------------------------------------------------


def produce(client: Client, channel: Channel, config: Record) -> None:
    """Submits its jobs, `gap_s` apart. What may have arrived is sent again only if it has a key."""
    start = time.monotonic()
    for position, job in enumerate(config["jobs"]):
        channel.pause(max(0.0, start + position * config["gap_s"] - time.monotonic()))
        payload, terms = payload_of(job, config), terms_of(job, config)
        while not submit(client, channel, job, payload, terms):
            pass  # the client has paused


def payload_of(job: str, config: Record) -> str:
    """Its first word is the job's name; what follows is awkward, or as long as it is wanted."""
    if config["payload_bytes"]:
        return f"{job} ".ljust(config["payload_bytes"], "x")
    dice = random.Random(f"{config['seed']} {job}")
    return " ".join([job, *dice.choices(WORDS, k=dice.randint(0, 8))]) + " " * dice.randint(0, 2)


def terms_of(job: str, config: Record) -> Record:
    """What it is put with; empty if it is a job like any other."""
    turn = int(job[1:]) - 1
    delay_s = config["delays_s"][turn % len(config["delays_s"])]
    priority = config["priorities"][turn % len(config["priorities"])]
    terms = {"delay_s": delay_s, "priority": priority, "key": job if config["keyed"] else ""}
    return {name: value for name, value in terms.items() if value}


def submit(client: Client, channel: Channel, job: str, payload: str, terms: Record) -> bool:
    """Whether the job is settled: not if nobody was there to take it, or will not say whether he did."""
    options = "".join(f" {name.removesuffix('_s')}={value}" for name, value in terms.items())
    outcome, _ = client.operate(
        "submit", {"job": job, "payload": payload, **terms},
        lambda: f"PUT{options} -- {payload}" if terms else f"SUBMIT {payload}",
        lambda reply: {"id": after("JOB_ID", reply)},
    )  # fmt: skip
    if outcome == "ok":
        channel.gate("submitted", job)
    elif outcome == "refused" and client.refusal.startswith(NOT_NOW):
        channel.pause(RECONNECT_PAUSE_S[1])
        return False
    return outcome in ("ok", "refused") or (outcome == "unknown" and "key" not in terms)


def work(client: Client, channel: Channel, config: Record) -> None:
    """Takes a job, works, says how it went; until it is told to stop."""
    dice = random.Random(f"{config['seed']} {channel.process} {client.incarnation}")
    while True:
        channel.pause(0)
        outcome, job = client.operate("reserve", {}, lambda: reserve_question(client), delivery)
        if outcome == "refused":
            channel.pause(POLL_INTERVAL_S)  # whoever refuses is not asked again at once
        if outcome != "ok":
            continue
        if job.get("empty"):
            channel.pause(0 if client.has_tokens else POLL_INTERVAL_S)
            continue
        channel.gate("delivered", job["job"])
        Attempt(client, channel, config, job).run(lot=dice.random())


class Attempt:
    """One job at one worker: its handler, and the renewals of its lease. One thread does both, in turns."""

    def __init__(self, client: Client, channel: Channel, config: Record, job: Record) -> None:
        self.client, self.channel, self.config, self.job = client, channel, config, job
        renews = config["renew"] and client.has_tokens
        self.renewal_s = config["ack_timeout_s"] / RENEWALS if renews else math.inf
        self.renew_at = time.monotonic() + self.renewal_s
        self.renew_until = time.monotonic() + (config["max_runtime_s"] or math.inf)

    def run(self, lot: float) -> None:
        """`lot`, from 0 to 1, decides how it goes."""
        fail_rate = self.config["fail_rate"]
        self.reach("before_work")
        self.wait(self.config["work_time_s"])
        if lot < fail_rate:
            self.tell("fail", confirmed="failed")
            return
        if self.client.has_tokens and lot < fail_rate + self.config["release_rate"]:
            self.tell("release")
            return
        if self.config["effect"]:
            self.reach("before_effect")
            effect = {name: self.job[name] for name in ("job", "id", "token", "conn")}
            if not self.channel.write({**effect, "worker": self.channel.process}):
                return  # the job is another's by now
        self.reach("before_ack")
        self.tell("ack", sent="ack_sent", confirmed="acked")

    def reach(self, event: str) -> None:
        self.channel.gate(event, self.job["job"])
        self.hang_if_told()

    def wait(self, seconds: float, word: str = "") -> None:
        """Until the time is over, or the lab has said the word."""
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            heard = self.channel.hear(max(0.0, min(end, self.renew_at) - now))
            if heard and heard == word:
                return
            if time.monotonic() >= self.renew_at:
                self.renew()
            self.hang_if_told()

    def hang_if_told(self) -> None:
        """The handler is stuck, and the process lives: it goes on renewing its lease."""
        if "hang" in self.channel.wishes:
            self.channel.wishes.remove("hang")
            self.channel.announce("stuck", self.job["job"])
            self.wait(math.inf, "go")

    def renew(self) -> None:
        outcome = ""
        if time.monotonic() < self.renew_until:
            outcome = self.tell("touch")
        self.renew_at = time.monotonic() + self.renewal_s if outcome == "ok" else math.inf

    def tell(self, f: str, sent: str = "", confirmed: str = "") -> str:
        """Says ack, fail, release or touch. The gates are passed when it was sent, and confirmed."""
        job = self.job["job"]
        question = f"{f.upper()} {self.job['id']} {self.job['token'] or ''}".rstrip()
        value = {name: self.job[name] for name in ("job", "id", "token")}
        outcome, _ = self.client.operate(
            f, value, lambda: question, nothing, lambda: self.channel.gate(sent, job)
        )
        if outcome == "ok":
            self.channel.gate(confirmed, job)
        return outcome


def audit(client: Client, channel: Channel, config: Record) -> None:
    """Asks the broker what it has, and kicks its dead jobs if told to.

    A broker that refuses has no counts, and is asked no more.
    """
    dead: int | None = None  # how many of them are listed
    tells = False
    try:
        while True:
            outcome, stats = client.operate("stats", {}, lambda: "STATS", counts)
            tells |= outcome == "ok"
            if outcome == "ok" and stats["dead"] != dead:
                dead = stats["dead"] if list_dead(client) is not None else None
            if "kick" in channel.wishes:
                channel.wishes.remove("kick")
                channel.announce("kicked", " ".join(kick_dead(client)))
                dead = None  # as many may be dead by now, and others
            else:
                channel.pause(3600 if outcome == "refused" else config["audit_interval_s"])
    finally:
        if tells:
            list_dead_at_last(client)


def list_dead(client: Client) -> list[Record] | None:
    """All of them, a page at a time: a dead job that is missing here would pass for a lost one.

    None if the broker did not answer.
    """
    found: list[Record] = []
    page: list[Record] = [{"id": "0"}]
    while page:
        question = f"JOBS state=DEAD after={page[-1]['id']} limit={PAGE}"
        outcome, value = client.operate("dead", {}, lambda question=question: question, dead_jobs)  # type: ignore[misc]
        if outcome != "ok":
            return None
        page = value["dead"]
        found += page
    return found


def list_dead_at_last(client: Client) -> None:
    """Who has been told to stop hears `Stopped` whenever he would wait a little before the next try."""
    for _ in range(LAST_TRIES):
        with suppress(Stopped):
            list_dead(client)
            return


def kick_dead(client: Client) -> list[str]:
    """Those that were given another chance, by nonce."""
    kicked = []
    for dead in list_dead(client) or ():
        id, job = dead["id"], dead["payload"].split(" ")[0]
        outcome, _ = client.operate("kick", {"id": id, "job": job}, lambda id=id: f"KICK {id}", nothing)  # type: ignore[misc]
        if outcome == "ok":
            kicked.append(job)
    return kicked


def publish(client: Client, channel: Channel, config: Record) -> None:
    """Binds queues of its own to an exchange of its own; publishes, and looks what has come into each queue.

    A broker that refuses to bind knows no exchanges, and is asked no more.
    """
    topic, own = config["topic"], channel.process.replace(" ", "-")
    patterns = {f"{own}/{queue}": keys for queue, keys in topic["bindings"].items()}
    questions = [f"DECLARE topic {own}", *(f"DECLARE queue {queue}" for queue in patterns)]
    questions += [f"BIND {queue} {own} {key}" for queue, keys in patterns.items() for key in keys]
    if all(bind(client, question, patterns) for question in questions):
        for number in range(topic["publishes"]):
            channel.pause(topic["gap_s"])
            key, copy = topic["keys"][number % len(topic["keys"])], f"{own}.{number + 1}"
            ask(client, "publish", f"PUBLISH {own} {key} -- {copy}", {"copy": copy, "key": key}, copies)
            for queue in patterns:
                take_all(client, queue)
    while True:
        channel.pause(3600)


def bind(client: Client, question: str, patterns: Record) -> bool:
    """Whether it is bound; asked again until somebody says."""
    outcome = ""
    while outcome not in ("ok", "refused"):
        outcome, _ = ask(client, "bind", question, {"patterns": patterns}, nothing)
    return outcome == "ok"


def take_all(client: Client, queue: str) -> None:
    while True:
        outcome, got = ask(client, "take", f"RESERVE queue={queue}", {"queue": queue}, delivery)
        if outcome != "ok" or got.get("empty"):
            return
        question = f"ACK {got['id']} {got['token'] or ''}".rstrip()
        ask(client, "taken", question, {"queue": queue, "copy": got["job"]}, nothing)


def ask(
    client: Client, f: str, question: str, value: Record, read: Callable[[str], Record]
) -> tuple[str, Record]:
    return client.operate(f, {"question": question, **value}, lambda: question, read)


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


def shown(data: bytes) -> str:
    """The beginning of what should not be there."""
    return data[:SHOWN].decode("utf-8", "backslashreplace").rstrip("\r\n")


def copies(reply: str) -> Record:
    ids = json.loads(after("JOB_IDS", reply))
    return {"ids": ids if ids is None else [str(id) for id in ids]}  # null: there are some, and nobody counts


def counts(reply: str) -> Record:
    stats = json.loads(after("STATS", reply))
    return {name: stats[name] for name in COUNTS}


def dead_jobs(reply: str) -> Record:
    jobs = json.loads(after("JOBS", reply))
    return {"dead": [{"id": str(job["id"]), "payload": job["payload"]} for job in jobs]}


def nothing(reply: str) -> Record:
    if reply != "OK":
        raise ValueError(reply)
    return {}


Play = Callable[[Client, Channel, Record], None]
ROLES: dict[str, Play] = {"producer": produce, "worker": work, "auditor": audit, "publisher": publish}


def main(
    role: str, number: str, config: Record, speak: Speak = LineClient, roles: dict[str, Play] = ROLES
) -> None:
    process = f"{role} {number}" if role != "auditor" else role
    channel = Channel(int(os.environ["DSJQ_LAB_CHANNEL"]), process, config["gates"])
    signal.signal(signal.SIGTERM, lambda *_: channel.wishes.add("stop"))
    client = Client(channel, config, speak)
    with suppress(Stopped):
        roles[role](client, channel, config)
    client.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
