"""The network between the clients and the broker, where the lab can put its hand on it.

Each client process has a port of its own, so it is known who speaks without a word being understood. What
arrives there goes on to the broker, and its answers back, byte by byte the same: unless a disturbance
(disturbances.py) is upon that client's link (links.py). One thread moves all bytes, and keeps a record of
them; with nothing to disturb it adds less than 100 µs to a question and its answer (`python -m bench proxy`).
"""

import itertools
import math
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from dsjq_lab.disturbances import DISTURBANCES, Disturbance
from dsjq_lab.links import HARD, READ, Connection
from dsjq_lab.ports import PortLease
from dsjq_lab.tongues import LINES, Tongue
from dsjq_lab.wire import Said

TICK_S = 0.02
BACKLOG = 1024
HOST = "127.0.0.1"  # where its clients are, also if the broker is elsewhere


class Proxy:
    """For one thread, which selects on it (it has a fileno) and then calls `receive`; leaving it ends all."""

    def __init__(
        self, broker: tuple[str, int], seed: int, authority: str = "", *, tongue: Tongue | None = LINES
    ) -> None:
        """`authority`, a file, signed the certificate of a broker that speaks TLS: guests must, too."""
        self.broker, self.seed, self.authority, self.tongue = broker, seed, authority, tongue
        self.said: list[Said] = []  # all that passed, or should have
        self.numbers = itertools.count(1)  # of connections
        self.lock = threading.RLock()  # between the thread that moves bytes and the one that disturbs them
        self.selector = selectors.DefaultSelector()
        self.connections: set[Connection] = set()
        self.disturbances: dict[str, Disturbance] = {}  # by the victim: a client, or "broker" for all links
        self.count = 0
        self.ports: dict[str, PortLease] = {}
        self.listeners: list[socket.socket] = []
        self.news: deque[tuple[str, dict[str, int]]] = deque()
        self.bell, self.rope = socket.socketpair()
        self.ear, self.nudge = socket.socketpair()
        self.selector.register(self.ear, READ, None)
        self.closing = False
        self.thread = threading.Thread(target=self.run, name="proxy", daemon=True)
        self.thread.start()

    # -- For the lab's thread

    def port(self, client: str) -> int:
        """Where this client finds the broker."""
        with self.lock:
            if client not in self.ports:
                lease = self.ports[client] = PortLease()
                listener = socket.create_server((HOST, lease.port), backlog=BACKLOG)
                listener.setblocking(False)
                self.listeners.append(listener)
                self.selector.register(listener, READ, client)
                self.wake()
            return self.ports[client].port

    def disturb(self, victim: str, verb: str, options: Mapping[str, Any]) -> bool:
        """From now on, until `calm`; False if the broker was not there to be disturbed."""
        with self.lock:
            self.count += 1
            more = {**options, "broker": self.broker, "ca": self.authority}
            disturbance = DISTURBANCES[verb](
                lambda proof: self.tell(victim, disturbance, proof), f"{self.seed} {self.count}", more
            )
            self.disturbances[victim] = disturbance
            links = [c for c in self.connections if victim in (c.client, "broker") and not c.forsaken]
            try:
                disturbance.begin(links)
            except OSError:
                del self.disturbances[victim]
                return False
            self.wake()
            return True

    def calm(self, victim: str) -> None:
        with self.lock:
            if disturbance := self.disturbances.pop(victim, None):
                disturbance.end()
            for connection in list(self.connections):
                for stream in (connection.up, connection.down):
                    stream.hurry()
                connection.give(time.monotonic_ns())

    def fileno(self) -> int:
        """Readable when a disturbance has bitten."""
        return self.bell.fileno()

    def receive(self) -> Iterator[tuple[str, dict[str, int]]]:
        """Who was disturbed, and the proof."""
        self.bell.recv(4096)
        while self.news:
            yield self.news.popleft()

    def record(self) -> Iterator[dict[str, Any]]:
        """What was said on the way, as operations of a history."""
        with self.lock:
            yield from (message.op() for message in self.said)

    def close(self) -> None:
        self.closing = True
        self.wake()
        self.thread.join()
        for disturbance in self.disturbances.values():
            disturbance.end()
        for connection in list(self.connections):
            connection.close()
        self.selector.close()
        for end in (self.bell, self.rope, self.ear, self.nudge, *self.listeners):
            end.close()
        for lease in self.ports.values():
            lease.close()

    # -- Everything else

    def tell(self, victim: str, disturbance: Disturbance, proof: dict[str, int]) -> None:
        if disturbance.at_once and self.disturbances.get(victim) is disturbance:
            del self.disturbances[victim]
        self.news.append((victim, proof))
        self.rope.send(b"!")

    def wake(self) -> None:
        self.nudge.send(b"!")

    def run(self) -> None:
        while not self.closing:
            ready = self.selector.select(self.patience_s())
            with self.lock:
                now_ns = time.monotonic_ns()
                for key, mask in ready:
                    if isinstance(key.data, Connection):
                        key.data.move(key.fileobj, mask, now_ns)  # type: ignore[arg-type]
                    elif key.data is None:
                        self.ear.recv(4096)
                    else:
                        self.accept(key.data, key.fileobj)  # type: ignore[arg-type]
                if self.disturbances:
                    self.pass_time(now_ns)

    def patience_s(self) -> float | None:
        with self.lock:
            if not self.disturbances:
                return None
            due = [due_ns for c in self.connections if (due_ns := c.next_due_ns) is not None]
            until_ns = min(due, default=math.inf) - time.monotonic_ns()
            return min(TICK_S, max(0.0, until_ns / 1e9))

    def pass_time(self, now_ns: int) -> None:
        for disturbance in list(self.disturbances.values()):
            disturbance.tick(now_ns)
        for connection in list(self.connections):
            if (due_ns := connection.next_due_ns) is not None and due_ns <= now_ns:
                connection.give(now_ns)

    def accept(self, client: str, listener: socket.socket) -> None:
        with suppress(BlockingIOError):
            near, _ = listener.accept()
            try:
                far = socket.create_connection(self.broker)
            except OSError:  # nobody is there, and the client is told so
                near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, HARD)
                near.close()
                return
            connection = Connection(self, client, near, far)
            self.connections.add(connection)
            for disturbance in list(connection.disturbances()):
                disturbance.opened(connection)
            connection.settle()
