"""A thread for each connection: read, decode, execute, encode, write. One thread, no hand-off.

A client's commands are carried out in the order in which it sent them, so it may send many before
it reads the first reply; those to commands that arrived together leave together. However a connection
ends, what it held is given back at once.
"""
import contextlib
import socket
import sys
import threading
import time

from .broker import Broker
from .messages import Command, Error, Quit, Reply, Reserve
from .text import LineCoding

BACKLOG = 1024
UNSENT_MAX = 65536  # bytes of replies; with so many the next one does not wait for more
ACCEPT_PAUSE_S = 0.1
LAST_REPLY_S = 2.0  # whoever is being answered when the server stops has so long to read it


class Link:
    """One client's connection, served in a thread of its own. Extensions override single steps of it."""

    first_coding: type[LineCoding] = LineCoding

    def __init__(self, server: "Server", conn: socket.socket):
        self.server, self.conn, self.coding, self.unsent = server, conn, self.first_coding(), bytearray()

    def serve(self) -> None:
        self.session = self.server.broker.connect(lambda: self.server.stopping or self.has_hung_up())
        self.session.gathers = True
        try:
            self.conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while not self.server.stopping and (data := self.receive()):
                for command in self.coding.commands(data):
                    if len(self.unsent) > UNSENT_MAX or (isinstance(command, Reserve) and command.wait_s):
                        self.flush()  # a command that waits keeps no reply waiting
                    reply = command if isinstance(command, Error) else self.execute(command)
                    self.unsent += self.coding.encode_reply(reply)
                    if isinstance(command, Quit):
                        return self.flush()
                self.flush()
        except OSError:
            pass  # reset, or hung up by stop(): the same as an end of file
        finally:
            self.server.broker.disconnect(self.session)
            self.server.leave(self)
            self.conn.close()

    def receive(self) -> bytes:
        return self.conn.recv(65536)

    def send(self, data: bytes) -> None:
        self.conn.sendall(data)

    def flush(self) -> None:
        """Send the replies that have gathered, as soon as what they tell is safe."""
        if self.unsent:
            self.server.broker.store.wait(self.session.position)
            self.send(self.coding.wrap(bytes(self.unsent)))
            self.unsent.clear()

    def execute(self, command: Command) -> Reply:
        return self.server.broker.execute(command, self.session)

    def has_hung_up(self) -> bool:
        """False as long as there is something left to read, even if it is the last."""
        try:
            return self.conn.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def hang_up(self, how: int) -> None:
        with contextlib.suppress(OSError):  # it may have ended meanwhile
            self.conn.shutdown(how)


class Server:
    """Listens from the moment it is made; `address` is where."""

    link: type[Link] = Link

    def __init__(self, broker: Broker, host: str = "127.0.0.1", port: int = 0):
        self.broker = broker
        self.listener = socket.create_server((host, port), backlog=BACKLOG)
        self.address: tuple[str, int] = self.listener.getsockname()[:2]
        self.links: dict[Link, threading.Thread] = {}
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
            open_now = list(self.links.items())
        until = time.monotonic() + LAST_REPLY_S
        for link, _ in open_now:
            link.hang_up(socket.SHUT_RD)
        for link, thread in open_now:
            thread.join(max(0.0, until - time.monotonic()))
            link.hang_up(socket.SHUT_RDWR)  # whoever did not read its reply by now
            thread.join()

    def _accept(self) -> None:
        while not self.stopping:
            try:
                self.admit(*self.listener.accept())
            except (OSError, RuntimeError) as problem:
                if not self.stopping:  # no descriptor or no thread is left: neither give up nor spin
                    print(f"cannot accept: {problem}", file=sys.stderr)
                    time.sleep(ACCEPT_PAUSE_S)

    def admit(self, conn: socket.socket, address: tuple[str, int]) -> None:
        link = self.link(self, conn)
        thread = threading.Thread(target=link.serve, daemon=True)
        with self.lock:  # so that it cannot leave before it is known, nor be known if it cannot start
            thread.start()
            self.links[link] = thread

    def leave(self, link: Link) -> None:
        with self.lock:
            del self.links[link]
