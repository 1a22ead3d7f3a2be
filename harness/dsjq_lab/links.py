"""One client's connection through the proxy: two streams, each of which may be disturbed, and is overheard.

What arrives is passed on as it came, unless a disturbance (disturbances.py) holds it, delays it, or makes
something else of it. Whatever happens to it, the wire's record (wire.py) tells when it came and when it left.
"""

import selectors
import socket
import struct
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from dsjq_lab.disturbances import Disturbance, asked_for
from dsjq_lab.tongues import LINES
from dsjq_lab.wire import Ear, Said

if TYPE_CHECKING:
    from dsjq_lab.proxy import Proxy

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
CHUNK_BYTES = 1 << 16
WAITING_BYTES_MAX = 1 << 20  # then the stream is read no further, as with any full buffer
HARD = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset
END = b""  # of a stream


class Stream:
    """One direction of one connection."""

    def __init__(self, connection: "Connection", direction: str) -> None:
        self.connection, self.direction = connection, direction
        near, far = connection.near, connection.far
        self.source, self.sink = (near, far) if direction == "up" else (far, near)
        self.waiting: deque[tuple[int, bytes, list[Said]]] = deque()  # (when it may leave, what, its end)
        tongue = connection.proxy.tongue
        self.ear = Ear(connection.client, connection.number, direction, tongue is LINES)
        self.tongue = tongue or LINES  # who must understand does not come where nothing is understood
        self.waiting_bytes = self.passed_bytes = 0
        self.unasked = 0  # replies on their way, to what its sink did not ask
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
        said = self.ear.hear(data, now_ns)
        self.connection.proxy.said += said
        if data == END:
            self.ended = True
            self.waiting.append((self.waiting[-1][0] if self.waiting else now_ns, END, []))
        elif self.lost_to is not None:
            self.lost_to.bite(lost_bytes=len(data))
        else:
            pieces = self.treated(data, now_ns)
            for delay_ns, piece in pieces:
                due_ns = max(now_ns + delay_ns, self.waiting[-1][0] if self.waiting else 0)
                self.waiting.append((due_ns, piece, []))
                self.waiting_bytes += len(piece)
            if pieces and not self.connection.is_cut:  # of what is cut off the end never leaves
                self.waiting[-1][2].extend(said)
            self.passed_bytes += len(data)
        self.give(now_ns)

    def treated(self, data: bytes, now_ns: int) -> list[tuple[int, bytes]]:
        asked = asked_for(self, data)
        pieces = [(0, asked)] if asked else []
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
            due_ns, data, said = self.waiting.popleft()
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
                self.waiting.appendleft((due_ns, data[sent:], said))
                self.full = True
                return
            if said:
                left_ns = time.monotonic_ns()
                for message in said:
                    message.left_ns = left_ns

    @property
    def held(self) -> bool:
        return any(disturbance.holds(self) for disturbance in self.connection.disturbances())

    def hurry(self) -> None:
        """What was delayed is due now."""
        self.waiting = deque((0, data, said) for _, data, said in self.waiting)


class Connection:
    """One client's connection to the proxy, and the proxy's to the broker on its behalf."""

    def __init__(self, proxy: "Proxy", client: str, near: socket.socket, far: socket.socket) -> None:
        self.proxy, self.client, self.near, self.far = proxy, client, near, far
        self.number = next(proxy.numbers)
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
