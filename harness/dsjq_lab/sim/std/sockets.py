"""Simulated `socket`.

What it promises: stream sockets over the loopback, with time-outs, `shutdown`, `makefile`, MSG_PEEK and
MSG_DONTWAIT, and the errors that Linux gives after a close, a half close and a reset. Reads may come short,
at the schedule's whim: TCP is a stream. `shutdown` of a listener wakes its `accept`, as on Linux; `close`
does not.

What it leaves out: datagrams, IPv6, names other than the loopback's, ancillary data, and options (they are
taken, and mean nothing).
"""

import io
import socket as real
from collections.abc import Callable
from functools import partial
from typing import Any, Self

from dsjq_lab.sim.kernel import sim
from dsjq_lab.sim.net import Connection, Endpoint, Listener, Network, Stream, key
from dsjq_lab.sim.process import Process

PEEK, DONT_WAIT = int(real.MSG_PEEK), int(real.MSG_DONTWAIT)


def network() -> Network:
    found: Network = sim().network
    return found


class Socket:
    def __init__(
        self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None
    ) -> None:
        process = sim().current.process
        assert process is not None
        self.process: Process = process
        self.family = real.AF_INET if family == -1 else family
        self.type = real.SOCK_STREAM if type == -1 else type
        self.proto = max(proto, 0)
        if self.family not in (real.AF_INET, real.AF_UNIX) or self.type != real.SOCK_STREAM:
            raise OSError(97, "this network has stream sockets alone, over IPv4 or AF_UNIX")
        self.endpoint: Endpoint = Endpoint(network()) if fileno is None else process.descriptor(fileno)
        self.number = process.open(self.endpoint) if fileno is None else fileno
        self.identity = process.number()
        self.timeout: float | None = None
        self.files = 0  # made by makefile and not closed
        self.closed = False

    # -- Its names and settings

    def __repr__(self) -> str:
        return f"socket {self.endpoint.address}"

    def __hash__(self) -> int:
        return self.identity

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def fileno(self) -> int:
        return -1 if self.closed else self.number

    def setsockopt(self, *option: object) -> None:
        self._check_open()

    def getsockopt(self, *option: object) -> int:
        self._check_open()
        return 0

    def settimeout(self, timeout: float | None) -> None:
        if timeout is not None and timeout < 0:
            raise ValueError("Timeout value out of range")
        self.timeout = timeout

    def gettimeout(self) -> float | None:
        return self.timeout

    def setblocking(self, blocking: bool) -> None:
        self.timeout = None if blocking else 0.0

    def getblocking(self) -> bool:
        return self.timeout != 0

    def getsockname(self) -> Any:
        self._check_open()
        return self.endpoint.address or ("0.0.0.0", 0)

    def getpeername(self) -> Any:
        return self._connection().peer_address

    # -- Listening and connecting

    def bind(self, address: Any) -> None:
        sim().operation(self)
        self._check_open()
        if key(address) in network().listeners:
            raise OSError(98, "Address already in use")
        if isinstance(address, tuple):
            address = (address[0] or "0.0.0.0", address[1] or network().port())
        self.endpoint.address = address

    def listen(self, backlog: int = 128) -> None:
        sim().operation(self)
        self._check_open()
        if self.endpoint.address is None:
            self.endpoint.address = ("0.0.0.0", network().port())
        if self.endpoint.listener is None:
            self.endpoint.listener = Listener(self.endpoint.address)
            network().listen(self.endpoint.listener)

    def accept(self) -> tuple["Socket", Any]:
        kernel = sim()
        kernel.operation(self)
        self._check_open()
        listener = self.endpoint.listener
        if listener is None or listener.shut:
            raise OSError(22, "Invalid argument")
        self._wait(lambda: bool(listener.backlog or listener.shut), listener.acceptors, self.timeout)
        if not listener.backlog:
            raise OSError(22, "Invalid argument")
        connection = listener.backlog.pop(0)
        number = self.process.open(Endpoint(network(), connection))
        return Socket(self.family, self.type, 0, number), connection.peer_address

    def connect(self, address: Any) -> None:
        sim().operation(self)
        self._check_open()
        if self.endpoint.connection:
            raise OSError(106, "Transport endpoint is already connected")
        connection = network().connect(self.process.name, self.endpoint.address, address)
        self.endpoint.connection, self.endpoint.address = connection, connection.address

    def connect_ex(self, address: Any) -> int:
        try:
            self.connect(address)
        except OSError as problem:
            return problem.errno or 110
        return 0

    # -- Bytes

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        sim().operation(self)
        return self._receive(bufsize, flags)

    def _receive(self, count: int, flags: int = 0) -> bytes:
        stream = self._connection().incoming
        if not stream.data:
            timeout = 0.0 if flags & DONT_WAIT else self.timeout
            self._wait(lambda: stream.readable, stream.readers, timeout)
        if not stream.data:
            if stream.reset:
                self._break(stream)
            return b""
        kernel = sim()
        if kernel.watcher:
            kernel.watcher.acquired(kernel.current, stream)
        if flags & PEEK:
            return bytes(stream.data[:count])
        length = min(count, len(stream.data))
        if length > 1 and (short := kernel.draw("short read", 4)):
            length = max(1, length * short // 4)
        return stream.take(length)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        data = self.recv(nbytes or len(buffer), flags)
        buffer[: len(data)] = data
        return len(data)

    def send(self, data: Any, flags: int = 0) -> int:
        sim().operation(self)
        self._check_open()
        return self._send(bytes(data), 0.0 if flags & DONT_WAIT else self.timeout)

    def sendall(self, data: Any, flags: int = 0) -> None:
        sim().operation(self)
        self._check_open()
        rest = bytes(data)
        while rest:
            rest = rest[self._send(rest, self.timeout) :]

    def _send(self, data: bytes, timeout: float | None) -> int:
        if self.endpoint.connection is None:
            raise BrokenPipeError(32, "Broken pipe")
        connection = self.endpoint.connection
        incoming, outgoing = connection.incoming, connection.outgoing
        if outgoing.room <= 0:
            self._wait(
                lambda: outgoing.room > 0 or outgoing.deaf or bool(incoming.reset),
                outgoing.writers, timeout,
            )  # fmt: skip
        if incoming.reset:
            self._break(incoming)
        if outgoing.ended or self.endpoint.broken:
            raise BrokenPipeError(32, "Broken pipe")
        if outgoing.deaf:  # the reset comes back, and is reported by the next call
            incoming.break_off("pipe" if incoming.ended else "reset")
            return len(data)
        kernel = sim()
        if kernel.watcher:
            kernel.watcher.released(kernel.current, outgoing)
        sent = data[: outgoing.room]
        outgoing.put(sent)
        return len(sent)

    def _break(self, stream: Stream) -> None:
        """A reset is reported once; then the socket is merely dead."""
        how, stream.reset = stream.reset, ""
        self.endpoint.broken = stream.ended = True
        if how == "pipe":
            raise BrokenPipeError(32, "Broken pipe")
        raise ConnectionResetError(104, "Connection reset by peer")

    def _wait(self, condition: Callable[[], bool], wait_list: list[Any], timeout: float | None) -> None:
        kernel = sim()
        deadline_ns = kernel.deadline(timeout)
        while not condition():
            if timeout == 0:
                raise BlockingIOError(11, "Resource temporarily unavailable")
            if not kernel.block(self, deadline_ns, wait_list) and not condition():
                raise TimeoutError("timed out")

    def _connection(self) -> Connection:
        self._check_open()
        if self.endpoint.connection is None:
            raise OSError(107, "Transport endpoint is not connected")
        return self.endpoint.connection

    def _check_open(self) -> None:
        if self.closed and not self.files:
            raise OSError(9, "Bad file descriptor")

    # -- Its end

    def shutdown(self, how: int) -> None:
        sim().operation(self)
        self._check_open()
        if self.endpoint.listener:
            self.endpoint.listener.shut = True
            sim().wake_all(self.endpoint.listener.acceptors)
            return
        connection = self._connection()
        if self.endpoint.broken:
            raise OSError(107, "Transport endpoint is not connected")
        if how in (real.SHUT_WR, real.SHUT_RDWR) and not connection.outgoing.ended:
            connection.outgoing.end()
        if how in (real.SHUT_RD, real.SHUT_RDWR):
            connection.incoming.end()

    def close(self) -> None:
        if self.closed:
            return
        sim().operation(self)
        self.closed = True
        if not self.files:
            self._release()

    def _release(self) -> None:
        if self.process.descriptors.pop(self.number, None):
            self.endpoint.release()

    def detach(self) -> int:
        self.closed = True
        return self.number

    def makefile(
        self,
        mode: str = "r",
        buffering: int | None = None,
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> Any:
        raw = SocketFile(self, mode)
        if buffering == 0:
            return raw
        size = io.DEFAULT_BUFFER_SIZE if buffering in (None, -1) else buffering or 1
        layer: Any
        if raw.readable() and raw.writable():
            layer = io.BufferedRWPair(raw, raw, size)
        else:
            layer = io.BufferedReader(raw, size) if raw.readable() else io.BufferedWriter(raw, size)
        return layer if "b" in mode else io.TextIOWrapper(layer, encoding or "utf-8", errors, newline)


class SocketFile(io.RawIOBase):
    """The bottom of what `makefile` returns. The socket stays open as long as one of these is."""

    def __init__(self, socket: Socket, mode: str) -> None:
        super().__init__()
        self.socket, self.mode, self.name = socket, mode, socket.number
        self.timed_out = False
        socket.files += 1

    def readable(self) -> bool:
        return "r" in self.mode

    def writable(self) -> bool:
        return "w" in self.mode

    def fileno(self) -> int:
        return self.socket.number

    def readinto(self, buffer: Any) -> int | None:
        if self.timed_out:
            raise OSError("cannot read from timed out object")
        sim().operation(self.socket)
        try:
            data = self.socket._receive(len(buffer))
        except BlockingIOError:
            return None
        except TimeoutError:
            self.timed_out = True
            raise
        buffer[: len(data)] = data
        return len(data)

    def write(self, data: Any) -> int:
        return self.socket.send(data)

    def close(self) -> None:
        if not self.closed and self.socket.process.alive:
            super().close()
            self.socket.files -= 1
            if self.socket.closed and not self.socket.files:
                sim().operation(self.socket)
                self.socket._release()


def create_server(
    address: Any, *, family: int = real.AF_INET, backlog: int | None = None, **options: Any
) -> Socket:
    server = Socket(family)
    server.bind(address)
    server.listen()
    return server


def create_connection(
    address: Any, timeout: Any = None, source_address: Any = None, **options: Any
) -> Socket:
    connection = Socket()
    connection.settimeout(timeout)
    try:
        connection.connect(address)
    except OSError:
        connection.close()
        raise
    return connection


def socketpair(
    family: int = real.AF_UNIX, type: int = real.SOCK_STREAM, proto: int = 0
) -> tuple[Socket, Socket]:
    process = sim().operation().process
    assert process is not None
    one, other = (process.open(Endpoint(network(), end)) for end in Connection.pair())
    return Socket(real.AF_UNIX, type, proto, one), Socket(real.AF_UNIX, type, proto, other)


def getaddrinfo(host: Any, port: Any, *arguments: Any, **options: Any) -> list[tuple[Any, ...]]:
    return [(real.AF_INET, real.SOCK_STREAM, 6, "", (host or "0.0.0.0", port))]


def exports() -> dict[str, Any]:
    constants = {name: value for name, value in vars(real).items() if name.isupper()}
    return {
        **constants,
        "socket": Socket, "SocketType": Socket, "create_server": create_server, "socketpair": socketpair,
        "create_connection": create_connection, "getaddrinfo": getaddrinfo, "has_ipv6": False,
        "gethostname": partial(str, "lab"), "getfqdn": partial(str, "lab"),
        "gethostbyname": lambda name: "127.0.0.1", "setdefaulttimeout": lambda timeout: None,
        "getdefaulttimeout": lambda: None,
        "error": OSError, "timeout": TimeoutError, "gaierror": real.gaierror, "herror": real.herror,
    }  # fmt: skip
