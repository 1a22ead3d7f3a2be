"""Everything has a limit: no client, clumsy or hostile, may cost the others their broker.

A connection costs a thread and a descriptor, so they are counted, in all and for each address. A command
that is begun must be finished in time, or a thousand clients that send a byte a minute (slow loris) take all
the threads; a reply must be read in time, for the same reason. Who is merely silent is left alone: it may be
a worker at work. Jobs and the bytes of their payloads are counted too. What a limit turns away is told which
one, and may come again.
"""
import contextlib
import resource
import socket
import time
from collections import Counter
from typing import NamedTuple

from ..broker import Broker
from ..lifecycle import Queue
from ..messages import Acked, Command, Error, Record, Reply, Submitted
from ..server import Link, Server
from ..store import Store
from ..text import encode_reply
from .codings import Offering

UNREAD_BYTES = 1 << 16  # of replies that the system keeps for a client; by itself it would keep megabytes
SPARE_DESCRIPTORS = 32  # for the listener, the store, logs, and whoever is being turned away


class Limits(NamedTuple):
    connections: int = 1000
    connections_per_address: int = 1000
    jobs: int = 1_000_000  # that are not done
    payload_bytes: int = 1 << 30  # of the jobs that are not done
    command_s: float = 30.0  # from a command's first byte to its last
    reply_s: float = 30.0  # until a reply is taken over by the client's side


class Weighed:
    """A store that also knows how many bytes the payloads of unfinished jobs have."""

    def __init__(self, store: Store):
        self.store, self.epoch, self.clock_s = store, store.epoch, store.clock_s
        self.payload_bytes = 0

    def load(self, queue: Queue) -> None:
        self.store.load(queue)
        self.queue = queue
        self.payload_bytes = sum(len(job.payload) for job in queue.jobs.values())

    def append(self, records: list[Record]) -> int:
        position = self.store.append(records)
        for record in records:
            if isinstance(record, Submitted):
                self.payload_bytes += len(record.payload)
            elif isinstance(record, Acked):
                self.payload_bytes -= len(self.queue.jobs[record.job].payload)
        return position

    def wait(self, position: int) -> None:
        self.store.wait(position)


class LimitedLink(Link):
    server: "LimitedServer"
    first_coding = Offering

    def __init__(self, server: Server, conn: socket.socket):
        super().__init__(server, conn)
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNREAD_BYTES)
        self.begun: float | None = None  # when the command began of which only a part has arrived

    def receive(self) -> bytes:
        if not self.coding.buffer:
            self.begun = None
            return super().receive()
        self.begun = self.begun or time.monotonic()
        left_s = self.begun + self.server.limits.command_s - time.monotonic()
        try:
            self.conn.settimeout(max(left_s, 0.001))
            return super().receive()
        except TimeoutError:
            limit_s = self.server.limits.command_s
            self.say(Error("TOO_SLOW", f"a command must arrive within {limit_s:g} s"))
            raise
        finally:
            self.conn.settimeout(None)

    def send(self, data: bytes) -> None:
        """Raises TimeoutError, which ends the connection, if the client does not read."""
        self.conn.settimeout(self.server.limits.reply_s)  # sendall() takes it for the whole
        super().send(data)
        self.conn.settimeout(None)

    def say(self, reply: Reply) -> None:
        self.send(self.coding.wrap(self.coding.encode_reply(reply)))

    def execute(self, command: Command) -> Reply:
        self.begun = None
        if (payload := getattr(command, "payload", None)) is not None \
                and (why := self.server.too_much(len(payload))):
            return Error("QUEUE_FULL", why)
        return super().execute(command)


class LimitedServer(Server):
    """`weighed` is the broker's store. As many jobs as are submitted at one moment may be too many."""

    link = LimitedLink

    def __init__(self, broker: Broker, host: str, port: int, limits: Limits, weighed: Weighed):
        self.limits = limits._replace(connections=min(limits.connections, _room(limits.connections)))
        self.weighed, self.per_host = weighed, Counter[str]()
        self.hosts: dict[socket.socket, str] = {}  # for who has gone cannot be asked where from
        super().__init__(broker, host, port)

    def admit(self, conn: socket.socket, address: tuple[str, int]) -> None:
        with self.lock:
            full = self._full(address[0])
            if not full:
                self.per_host[address[0]] += 1
                self.hosts[conn] = address[0]
        if full:
            _turn_away(conn, full)
            return
        try:
            super().admit(conn, address)
        except BaseException:
            self._forget(conn)
            conn.close()
            raise

    def leave(self, link: Link) -> None:
        self._forget(link.conn)
        super().leave(link)

    def too_much(self, payload_bytes: int) -> str:
        """Which limit stands in the way of one more job; empty if none does."""
        if len(self.broker.queue.jobs) >= self.limits.jobs:
            return f"at most {self.limits.jobs} jobs wait or are at work"
        if self.weighed.payload_bytes + payload_bytes > self.limits.payload_bytes:
            return f"payloads have at most {self.limits.payload_bytes} bytes in all"
        return ""

    def _full(self, host: str) -> str:
        if self.per_host.total() >= self.limits.connections:
            return f"at most {self.limits.connections} at a time"
        if self.per_host[host] >= self.limits.connections_per_address:
            return f"at most {self.limits.connections_per_address} at a time from {host}"
        return ""

    def _forget(self, conn: socket.socket) -> None:
        with self.lock:
            self.per_host[self.hosts.pop(conn)] -= 1
            self.per_host += Counter()  # drops those at zero


def _turn_away(conn: socket.socket, why: str) -> None:
    with contextlib.suppress(OSError), conn:
        conn.setblocking(False)  # the accept loop waits for nobody
        conn.sendall(encode_reply(Error("TOO_MANY_CONNECTIONS", why)))


def _room(wanted: int) -> int:
    """For how many connections there are descriptors. Raises the process's own limit as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    needed = wanted + SPARE_DESCRIPTORS
    if soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, soft - SPARE_DESCRIPTORS)
