"""The network between the clients and the broker, where the lab can put its hand on it.

Each client process has a port of its own, so it is known who speaks without a word being understood. What
arrives there goes on to the broker, and its answers back, byte by byte the same: unless a disturbance
(disturbances.py) is upon that client's link. One thread moves all bytes; with nothing to disturb it adds some
tens of microseconds to a question and its answer (`python -m bench proxy`).
"""

import math
import selectors
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from dsjq_lab.disturbances import DISTURBANCES, Disturbance
from dsjq_lab.ports import PortLease

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
CHUNK_BYTES = 1 << 16
WAITING_BYTES_MAX = 1 << 20  # then the stream is read no further, as with any full buffer
TICK_S = 0.02
BACKLOG = 1024
HARD = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset
END = b""  # of a stream


class Stream:
    """One direction of one connection."""

    def __init__(self, connection: "Connection", direction: str) -> None:
        self.connection, self.direction = connection, direction
        near, far = connection.near, connection.far
        self.source, self.sink = (near, far) if direction == "up" else (far, near)
        self.waiting: deque[tuple[int, bytes]] = deque()  # (when it may leave, what)
        self.waiting_bytes = self.passed_bytes = 0
        self.ended = False  # its source has said all
        self.done = False  # and its sink was told so
        self.full = False  # its sink takes nothing now
        self.lost_to: Disturbance | None = None  # which swallows all that still comes

    @property
    def reads(self) -> bool:
        return not self.ended and self.waiting_bytes < WAITING_BYTES_MAX

    def take(self, now_ns: int) -> None:
        """Reads what there is, and sends it on or keeps it."""
        data = self.source.recv(CHUNK_BYTES)
        if data == END:
            self.ended = True
            self.waiting.append((self.waiting[-1][0] if self.waiting else now_ns, END))
        elif self.lost_to is not None:
            self.lost_to.bite(lost_bytes=len(data))
        else:
            for delay_ns, piece in self.treated(data, now_ns):
                due_ns = max(now_ns + delay_ns, self.waiting[-1][0] if self.waiting else 0)
                self.waiting.append((due_ns, piece))
                self.waiting_bytes += len(piece)
            self.passed_bytes += len(data)
        self.give(now_ns)

    def treated(self, data: bytes, now_ns: int) -> list[tuple[int, bytes]]:
        pieces = [(0, data)]
        for disturbance in self.connection.disturbances():
            pieces = [
                (delay_ns + more_ns, part)
                for delay_ns, piece in pieces
                for more_ns, part in disturbance.treat(self, piece, now_ns)
            ]
        return pieces

    def give(self, now_ns: int) -> None:
        """Sends what is due."""
        self.full = False
        while self.waiting and self.waiting[0][0] <= now_ns and not self.held:
            due_ns, data = self.waiting.popleft()
            if data == END:
                self.done = True
                self.sink.shutdown(socket.SHUT_WR)
                return
            try:
                sent = self.sink.send(data)
            except BlockingIOError:
                sent = 0
            self.waiting_bytes -= sent
            if sent < len(data):
                self.waiting.appendleft((due_ns, data[sent:]))
                self.full = True
                return

    @property
    def held(self) -> bool:
        return any(disturbance.holds(self) for disturbance in self.connection.disturbances())

    def hurry(self) -> None:
        """What was delayed is due now."""
        self.waiting = deque((0, data) for _, data in self.waiting)


class Connection:
    """One client's connection to the proxy, and the proxy's to the broker on its behalf."""

    def __init__(self, proxy: "Proxy", client: str, near: socket.socket, far: socket.socket) -> None:
        self.proxy, self.client, self.near, self.far = proxy, client, near, far
        for end in (near, far):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.up, self.down = Stream(self, "up"), Stream(self, "down")
        self.watched: dict[socket.socket, int] = {}
        self.forsaken = self.is_cut = self.closed = False

    def disturbances(self) -> Iterator[Disturbance]:
        for victim in (self.client, "broker"):
            if victim in self.proxy.disturbances:
                yield self.proxy.disturbances[victim]

    def move(self, end: socket.socket, mask: int, now_ns: int) -> None:
        """Something can be read from one of its ends, or written to it."""
        outward, inward = (self.up, self.down) if end is self.near else (self.down, self.up)
        try:
            if mask & READ and not self.closed and outward.reads:
                outward.take(now_ns)
            if mask & WRITE and not self.closed:
                inward.give(now_ns)
        except OSError:  # one end was reset: so is the other
            self.abort()
        self.settle()

    def give(self, now_ns: int) -> None:
        """Sends what has become due."""
        try:
            for stream in (self.up, self.down):
                stream.give(now_ns)
        except OSError:
            self.abort()
        self.settle()

    def settle(self) -> None:
        """Closes what is over, and watches the rest for what matters now."""
        if self.is_cut or (self.up.done and self.down.done):
            self.close()
        if self.closed:
            return
        for end, stream, other in ((self.near, self.up, self.down), (self.far, self.down, self.up)):
            if self.forsaken and end is self.near:
                continue
            mask = (READ if stream.reads else 0) | (WRITE if other.full else 0)
            self.watch(end, mask)

    def watch(self, end: socket.socket, mask: int) -> None:
        before = self.watched.get(end, 0)
        if mask == before:
            return
        self.watched[end] = mask
        if not before:
            self.proxy.selector.register(end, mask, self)
        elif mask:
            self.proxy.selector.modify(end, mask, self)
        else:
            self.proxy.selector.unregister(end)

    @property
    def next_due_ns(self) -> int | None:
        """When something may leave that is only late, neither held nor stuck."""
        due = [s.waiting[0][0] for s in (self.up, self.down) if s.waiting and not s.full and not s.held]
        return min(due, default=None)

    def cut_off(self) -> None:
        """It is closed when what is due has been sent, and nothing more is heard."""
        self.is_cut = True

    def forsake(self) -> None:
        """The client's end is closed, the broker's stays open; what comes from there is heard by nobody."""
        self.watch(self.near, 0)
        self.near.close()
        self.forsaken = self.up.ended = self.up.done = True
        self.up.waiting.clear()
        self.down.lost_to = Disturbance(lambda proof: None, "", {})

    def abort(self) -> None:
        for end in (self.near, self.far):
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, HARD)
        self.close()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            for end in (self.near, self.far):
                self.watch(end, 0)
                end.close()
            self.proxy.connections.discard(self)


class Proxy:
    """For one thread, which selects on it (it has a fileno) and then calls `receive`; leaving it ends all."""

    def __init__(self, broker: tuple[str, int], seed: int, authority: str = "") -> None:
        """`authority`, a file, signed the certificate of a broker that speaks TLS: guests must, too."""
        self.broker, self.seed, self.authority = broker, seed, authority
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
                listener = socket.create_server((self.broker[0], lease.port), backlog=BACKLOG)
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
