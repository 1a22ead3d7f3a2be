"""The simulated network: one machine's loopback, on which no byte is lost, and any may come late.

A connection is two streams, one each way. A stream is what the kernel of a real machine keeps for the
receiver: bytes that have arrived and were not read, and whether the sender has ended, or was reset.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from dsjq_lab.sim.kernel import sim
from dsjq_lab.sim.tasks import Task

CAPACITY = 65_536  # bytes that a sender may be ahead of the receiver
FIRST_EPHEMERAL_PORT = 40_000


@dataclass(eq=False)
class Stream:
    """One direction of a connection."""

    data: bytearray = field(default_factory=bytearray)
    capacity: int = CAPACITY
    ended: bool = False  # the sender has said that there is no more
    reset: str = ""  # how the receiver learns that the connection was broken: "reset" or "pipe"
    deaf: bool = False  # the receiver has closed its end
    readers: list[Task] = field(default_factory=list)
    writers: list[Task] = field(default_factory=list)
    vector: dict[Task, int] | None = None  # for the race detector
    listener: Callable[[], object] | None = None  # who stands in the middle (middle.py)

    @property
    def readable(self) -> bool:
        return bool(self.data or self.ended or self.reset)

    @property
    def room(self) -> int:
        return self.capacity - len(self.data)

    def put(self, data: bytes) -> None:
        self.data += data
        self.news()

    def end(self) -> None:
        self.ended = True
        self.news()

    def break_off(self, how: str) -> None:
        self.reset = how
        self.news()
        sim().wake_all(self.writers)

    def take(self, count: int) -> bytes:
        data = bytes(self.data[:count])
        del self.data[:count]
        if self.writers:
            sim().wake_all(self.writers)
        return data

    def news(self) -> None:
        if self.readers:
            sim().wake_all(self.readers)
        if self.listener:
            self.listener()


@dataclass(eq=False)
class Connection:
    """One end of it."""

    incoming: Stream
    outgoing: Stream
    address: object = None
    peer_address: object = None

    @classmethod
    def pair(cls, address: object = None, peer_address: object = None) -> "tuple[Connection, Connection]":
        one, other = Stream(), Stream()
        return cls(one, other, address, peer_address), cls(other, one, peer_address, address)

    def close(self) -> None:
        """Unread bytes make it a reset, as TCP does: their sender must not believe that they were read."""
        incoming, outgoing = self.incoming, self.outgoing
        incoming.deaf = True
        if incoming.data:
            incoming.data.clear()
            outgoing.break_off("reset")
        elif not outgoing.ended:
            outgoing.end()
        sim().wake_all(incoming.writers)


Pair = Callable[[str, object, object], tuple[Connection, Connection]]  # of (client, its address, whose)


@dataclass(eq=False)
class Listener:
    address: object
    backlog: list[Connection] = field(default_factory=list)
    acceptors: list[Task] = field(default_factory=list)
    shut: bool = False

    def close(self) -> None:
        for connection in self.backlog:
            connection.incoming.deaf = True
            connection.outgoing.break_off("reset")
        self.backlog.clear()


class Network:
    def __init__(self) -> None:
        self.listeners: dict[object, Listener] = {}
        self.on_listen: Callable[[object], object] = lambda address: None
        self.next_port = FIRST_EPHEMERAL_PORT
        self.pair: Pair = lambda client, mine, address: Connection.pair(mine, address)

    def port(self) -> int:
        self.next_port += 1
        return self.next_port

    def connect(
        self, client: str, mine: object, address: object, pair: Pair | None = None
    ) -> Connection:
        """The client's end. ConnectionRefusedError if nobody listens there."""
        listener = self.listeners.get(key(address))
        if listener is None or listener.shut:
            raise ConnectionRefusedError(111, "Connection refused")
        here, there = (pair or self.pair)(client, mine or ("127.0.0.1", self.port()), address)
        listener.backlog.append(there)
        sim().wake_all(listener.acceptors)
        return here

    def listen(self, listener: Listener) -> None:
        self.listeners[key(listener.address)] = listener
        self.on_listen(listener.address)


class Endpoint:
    """What a socket's descriptor stands for."""

    def __init__(self, network: Network, connection: Connection | None = None) -> None:
        self.network, self.connection = network, connection
        self.listener: Listener | None = None
        self.address: object = connection.address if connection else None
        self.broken = False  # a reset was reported; nothing works any more
        self.open = True

    @property
    def readable(self) -> bool:
        if self.listener:
            return bool(self.listener.backlog or self.listener.shut)
        return self.connection is None or self.connection.incoming.readable

    @property
    def writable(self) -> bool:
        return self.connection is not None and self.connection.outgoing.room > 0

    @property
    def readers(self) -> list[Task]:
        if self.listener:
            return self.listener.acceptors
        return self.connection.incoming.readers if self.connection else []

    @property
    def writers(self) -> list[Task]:
        return self.connection.outgoing.writers if self.connection else []

    def release(self) -> None:
        self.open = False
        if self.listener:
            self.listener.close()
            if self.network.listeners.get(key(self.address)) is self.listener:
                del self.network.listeners[key(self.address)]
        elif self.connection:
            self.connection.close()


def key(address: object) -> object:
    """What makes two addresses one: on this loopback, the port."""
    return address[1] if isinstance(address, tuple) else address
