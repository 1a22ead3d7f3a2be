"""A thread for each connection: read, decode, execute, encode, write. One thread, no hand-off.

A client's commands are carried out in the order in which it sent them, so it may send many before
it reads the first reply. However a connection ends, what it held is given back at once.
"""
import contextlib
import signal
import socket
import sys
import threading
import time

from .broker import Broker, Session
from .messages import Error, Ok, Ping, Pong, Quit, Reply
from .text import BadLine, Lines, decode_command, encode_reply

BACKLOG = 1024
STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}
ACCEPT_PAUSE_S = 0.1
LAST_REPLY_S = 2.0  # whoever is being answered when the server stops has so long to read it


class Server:
    """Listens from the moment it is made; `address` is where."""

    def __init__(self, broker: Broker, host: str = "127.0.0.1", port: int = 0):
        self.broker = broker
        self.listener = socket.create_server((host, port), backlog=BACKLOG)
        self.address: tuple[str, int] = self.listener.getsockname()[:2]
        self.connections: dict[socket.socket, threading.Thread] = {}
        self.lock = threading.Lock()
        self.stopping = False
        self.acceptor = threading.Thread(target=self._accept, name="accept")
        self.acceptor.start()

    def stop(self) -> None:
        """Take no more connections, answer what was asked, end those that are open and their threads."""
        self.stopping = True
        self.listener.shutdown(socket.SHUT_RDWR)  # wakes accept(), which close() would not
        self.acceptor.join()
        self.listener.close()
        with self.lock:
            open_now = list(self.connections.items())
        until = time.monotonic() + LAST_REPLY_S
        for conn, _ in open_now:
            _hang_up(conn, socket.SHUT_RD)
        for conn, thread in open_now:
            thread.join(max(0.0, until - time.monotonic()))
            _hang_up(conn, socket.SHUT_RDWR)  # whoever did not read its reply by now
            thread.join()

    def _accept(self) -> None:
        while not self.stopping:
            try:
                conn, _ = self.listener.accept()
            except OSError as problem:
                if not self.stopping:  # out of descriptors, say: that passes, so neither give up nor spin
                    print(f"cannot accept: {problem}", file=sys.stderr)
                    time.sleep(ACCEPT_PAUSE_S)
                continue
            thread = threading.Thread(target=self._serve, args=(conn,), daemon=True)
            with self.lock:
                self.connections[conn] = thread
            thread.start()

    def _serve(self, conn: socket.socket) -> None:
        session = self.broker.connect(gone=lambda: self.stopping or _has_hung_up(conn))
        lines = Lines()
        try:
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while not self.stopping and (data := conn.recv(65536)):
                for line in lines.feed(data):
                    reply, last = self._answer(line, session)
                    conn.sendall(encode_reply(reply))
                    if last:
                        return
        except OSError:
            pass  # reset, or hung up by stop(): the same as an end of file
        finally:
            self.broker.disconnect(session)
            with self.lock:
                del self.connections[conn]
            conn.close()

    def _answer(self, line: bytes | BadLine, session: Session) -> tuple[Reply, bool]:
        """The reply to one line, and whether it is the connection's last."""
        try:
            if isinstance(line, BadLine):
                raise line
            command = decode_command(line)
        except BadLine as bad:
            return Error(bad.code, bad.text), False
        if isinstance(command, Ping):
            return Pong(), False
        if isinstance(command, Quit):
            return Ok(), True
        return self.broker.execute(command, session), False


def _has_hung_up(conn: socket.socket) -> bool:
    """False as long as there is something left to read, even if it is the last."""
    try:
        return conn.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def _hang_up(conn: socket.socket, how: int) -> None:
    with contextlib.suppress(OSError):  # it may have ended meanwhile
        conn.shutdown(how)


def serve(broker: Broker, host: str, port: int, grace_s: float = 5.0) -> None:
    """Serve until SIGTERM or SIGINT, then drain. Prints one line when ready."""
    # Blocked in all threads, a signal stays pending until sigwait() takes it. With a handler it could get
    # lost: one that strikes just before the main thread falls asleep wakes nobody.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    server = Server(broker, host, port)
    print("listening on {}:{}".format(*server.address), flush=True)
    print(f"stopping on {signal.Signals(signal.sigwait(STOP_SIGNALS)).name}", file=sys.stderr)
    broker.drain(grace_s)
    server.stop()
