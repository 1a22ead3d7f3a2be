"""What a bad network does to the bytes that pass: one fault, one small class.

A stream of bytes has no messages: whoever is in the middle may hold it, delay it, cut it into pieces or lose
its end, and no reader can tell intent from chance. A disturbance is asked about each piece of its streams
(`treat`), and tells as soon as it has done something (`bite`): one that never bites proves nothing.
"""

import fcntl
import random
import socket
import ssl
import struct
import termios
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from dsjq_lab.workload import through_tls

if TYPE_CHECKING:
    from dsjq_lab.links import Connection, Stream

SECOND_NS = 1_000_000_000
PIECE_GAP_NS = 500_000  # so that the reader sees one piece before the next arrives
STUCK_NS = 1_000_000_000  # a broker that takes nothing for so long waits for its reader
GUEST_BUFFER_BYTES = 8192
GUEST_TIMEOUT_S = 0.5


class Piece(NamedTuple):
    """Some bytes on their way, and how much later than they came they may leave."""

    delay_ns: int
    data: bytes


class Disturbance:
    """Does nothing at all: each subclass changes one thing."""

    at_once: ClassVar[bool] = False  # over as soon as it has bitten

    def __init__(self, told: Callable[[dict[str, int]], None], seed: str, options: dict[str, Any]) -> None:
        self.told, self.dice, self.options = told, random.Random(seed), options
        self.bitten = False

    def bite(self, **proof: int) -> None:
        if not self.bitten:
            self.bitten = True
            self.told(proof)

    def concerns(self, stream: "Stream") -> bool:
        direction: str = self.options.get("direction", "both")
        return direction in ("both", stream.direction)

    def strikes(self) -> bool:
        """Whether the dice say so, this time."""
        probability: float = self.options.get("probability", 1.0)
        return self.dice.random() < probability

    def begin(self, connections: Iterable["Connection"]) -> None:
        """What it does at once, to those that are open."""

    def opened(self, connection: "Connection") -> None:
        """What it does to one that is opened while it lasts."""

    def holds(self, stream: "Stream") -> bool:
        """Whether nothing leaves this stream now."""
        return False

    def treat(self, stream: "Stream", data: bytes, now_ns: int) -> Iterator[Piece]:
        """What becomes of some bytes."""
        yield Piece(0, data)

    def tick(self, now_ns: int) -> None:
        """Called now and then while it lasts."""

    def end(self) -> None:
        """What it has kept is let go."""


class Partition(Disturbance):
    """Nothing gets through, and nobody is told: the connections stay open."""

    def holds(self, stream: "Stream") -> bool:
        return self.concerns(stream)

    def treat(self, stream: "Stream", data: bytes, now_ns: int) -> Iterator[Piece]:
        if self.concerns(stream):
            self.bite(held_bytes=len(data))
        yield Piece(0, data)


class HalfOpen(Disturbance):
    """The client's end is gone, and the broker is not told: it waits for a client that is not there."""

    def __init__(self, *told: Any) -> None:
        super().__init__(*told)
        self.kept: list[Connection] = []

    def begin(self, connections: Iterable["Connection"]) -> None:
        for connection in connections:
            connection.forsake()
            self.kept.append(connection)
        if self.kept:
            self.bite(connections=len(self.kept))

    def opened(self, connection: "Connection") -> None:
        if not self.kept:
            self.begin([connection])

    def end(self) -> None:
        for connection in self.kept:
            connection.close()


class Latency(Disturbance):
    """All arrives, later, and not always as much later."""

    def treat(self, stream: "Stream", data: bytes, now_ns: int) -> Iterator[Piece]:
        delay_ns = 0
        if self.concerns(stream) and self.strikes():
            spread_s = self.options["jitter_s"] * self.dice.uniform(-1, 1)
            delay_ns = round(max(0.0, self.options["by_s"] + spread_s) * SECOND_NS)
            self.bite(delayed_bytes=len(data))
        yield Piece(delay_ns, data)


class Bandwidth(Disturbance):
    """So many bytes a second, in each direction of each connection."""

    def __init__(self, *told: Any) -> None:
        super().__init__(*told)
        self.free_ns: dict[Stream, int] = {}

    def treat(self, stream: "Stream", data: bytes, now_ns: int) -> Iterator[Piece]:
        if not self.concerns(stream):
            yield Piece(0, data)
            return
        begin_ns = max(now_ns, self.free_ns.get(stream, 0))
        self.free_ns[stream] = begin_ns + round(len(data) / self.options["to_bytes_per_s"] * SECOND_NS)
        self.bite(slowed_bytes=len(data))
        yield Piece(self.free_ns[stream] - now_ns, data)


class Slice(Disturbance):
    """What was sent as one arrives in pieces, each by itself."""

    def treat(self, stream: "Stream", data: bytes, now_ns: int) -> Iterator[Piece]:
        size = self.options["into_bytes"]
        if not (self.concerns(stream) and len(data) > size and self.strikes()):
            yield Piece(0, data)
            return
        self.bite(pieces=-(-len(data) // size))
        for number, start in enumerate(range(0, len(data), size)):
            yield Piece(number * PIECE_GAP_NS, data[start : start + size])


class Listener(Disturbance):
    """It must understand what is said, and so it knows where messages begin (tongues.py)."""

    def __init__(self, *told: Any) -> None:
        super().__init__(*told)
        self.left: dict[Stream, float] = {}  # of the message that passes there

    def begins(self, stream: "Stream", data: bytes) -> bool:
        """Whether a message does, with these bytes."""
        if stream.tongue.greets_in_lines and not stream.passed_bytes:
            return False
        left = self.left.get(stream, 0)
        self.left[stream] = stream.tongue.left(data, left)
        return left == 0


class Coalesce(Listener):
    """Each question arrives in one piece with another, a PING whose answer the client never sees."""

    def treat(self, stream: "Stream", data: bytes, now_ns: int) -> Iterator[Piece]:
        if stream.direction == "up" and self.begins(stream, data) and self.strikes():
            stream.connection.down.unasked += 1
            data = stream.tongue.ping + data
            self.bite(joined_bytes=len(data))
        yield Piece(0, data)


class Corrupt(Listener):
    """A bit of a message's first word is flipped, so that it is no command, and no reply, any more.

    The greeting is spared: who does not agree on a language has nothing else to say.
    """

    def treat(self, stream: "Stream", data: bytes, now_ns: int) -> Iterator[Piece]:
        fresh, greets = self.begins(stream, data), not stream.passed_bytes
        if fresh and not greets and self.concerns(stream) and self.strikes():
            data = stream.tongue.spoilt(data)
            self.bite(flipped_bits=1)
        yield Piece(0, data)


class Reset(Disturbance):
    """Both ends are told at once that the connection is no more, and what was on its way is lost."""

    at_once = True

    def begin(self, connections: Iterable["Connection"]) -> None:
        broken = list(connections)
        for connection in broken:
            connection.abort()
        if broken:
            self.bite(connections=len(broken))

    def opened(self, connection: "Connection") -> None:
        self.begin([connection])


class Cut(Disturbance):
    """The connection ends in the middle of what is being said."""

    at_once = True

    def treat(self, stream: "Stream", data: bytes, now_ns: int) -> Iterator[Piece]:
        if not (self.concerns(stream) and len(data) > 1):
            yield Piece(0, data)
            return
        half = len(data) // 2
        yield Piece(0, data[:half])
        stream.connection.cut_off()
        self.bite(cut_bytes=len(data) - half)


class LoseReply(Listener):
    """The question arrives, its answer does not, nor anything that comes after it on this connection.

    For a reply does not say which question it belongs to: the next one would be taken for the one lost.
    """

    at_once = True

    def treat(self, stream: "Stream", data: bytes, now_ns: int) -> Iterator[Piece]:
        asked = stream.direction == "up" and self.begins(stream, data)
        if asked and stream.tongue.asks(data, self.options["to"]):
            stream.connection.down.lost_to = self
        yield Piece(0, data)


class SlowReader(Disturbance):
    """A stranger asks and asks, and reads none of the answers: the broker cannot get rid of them."""

    QUESTION = b"STATS\n" * 500

    def begin(self, connections: Iterable["Connection"]) -> None:
        self.guest = socket.socket()
        for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self.guest.setsockopt(socket.SOL_SOCKET, buffer, GUEST_BUFFER_BYTES)  # before it connects
        self.guest.settimeout(GUEST_TIMEOUT_S)
        self.guest.connect(self.options["broker"])
        if self.options["ca"]:
            self.guest, _ = through_tls(self.guest, self.options["ca"])
        self.guest.setblocking(False)
        self.moved_ns, self.sent_bytes = time.monotonic_ns(), 0

    def tick(self, now_ns: int) -> None:
        try:
            while True:
                self.sent_bytes += self.guest.send(self.QUESTION)
                self.moved_ns = now_ns
        except (BlockingIOError, ssl.SSLWantWriteError):
            unread = struct.unpack("i", fcntl.ioctl(self.guest, termios.FIONREAD, bytes(4)))[0]
            if unread and now_ns - self.moved_ns > STUCK_NS:
                self.bite(sent_bytes=self.sent_bytes, unread_bytes=unread)
        except OSError:
            self.bite(sent_bytes=self.sent_bytes, thrown_out=1)  # the broker has had enough of it

    def end(self) -> None:
        self.guest.close()


class Storm(Disturbance):
    """Strangers come and go, as fast as they can."""

    at_once = True

    def begin(self, connections: Iterable["Connection"]) -> None:
        for _ in range(self.options["connections"]):
            socket.create_connection(self.options["broker"], GUEST_TIMEOUT_S).close()
        self.bite(connections=self.options["connections"])


def asked_for(stream: Any, data: bytes) -> bytes:
    """Without the replies to what Coalesce has asked: they may come when it is over."""
    while stream.unasked and (rest := stream.tongue.without_first(data)) is not None:
        stream.unasked -= 1
        data = rest
    return b"" if stream.unasked else data


DISTURBANCES: dict[str, type[Disturbance]] = {
    "partition": Partition,
    "half_open": HalfOpen,
    "latency": Latency,
    "bandwidth": Bandwidth,
    "slice": Slice,
    "coalesce": Coalesce,
    "corrupt": Corrupt,
    "reset": Reset,
    "cut": Cut,
    "lose_reply": LoseReply,
    "slow_reader": SlowReader,
    "storm": Storm,
}
