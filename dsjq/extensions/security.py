"""A door with a lock: TLS, so that nobody listens in, and AUTH, so that strangers stay outside.

A connection begins as a stranger's. It may say AUTH, PING and QUIT, in lines of at most 256 bytes, and not
for long; three wrong secrets end it. Then its user's role says which commands it may send. Nothing here knows
what the commands do, so a new one is the admin's alone until a role is given it.
"""
import contextlib
import ipaddress
import select
import socket
import ssl
import time
from pathlib import Path
from typing import NamedTuple

from .. import messages as m
from ..broker import Broker
from ..client import Refused
from ..server import Server
from ..text import LINE_MAX, decode_command
from .codings import Offering
from .credentials import Users
from .limits import LimitedLink, LimitedServer, Limits, Weighed
from .routing import Publish

STRANGERS_LINE_MAX = 256
STRANGERS_S = 10.0  # for the handshake, and again for AUTH
GUESSES_MAX = 3

ANYBODY = {m.Ping, m.Quit}
SOMEBODY = {*ANYBODY, m.Hello, m.Status, m.Stats}
MAY = {
    "producer": {*SOMEBODY, m.Submit, Publish},
    "worker": {*SOMEBODY, m.Reserve, m.Ack, m.Fail, m.Touch, m.Release},
}  # and the admin everything


class Auth(NamedTuple):
    user: str
    secret: str

    def __repr__(self) -> str:
        return f"Auth({self.user!r}, …)"  # whatever prints commands prints no secret


class GuardedLines(Offering):
    """Lines, with one command more, which no other coding needs: who speaks frames has said AUTH before."""

    def __init__(self) -> None:
        super().__init__()
        self.line_max = STRANGERS_LINE_MAX

    @staticmethod
    def decode_command(line: bytes) -> m.Command | m.Error:
        if not line.startswith(b"AUTH "):
            return decode_command(line)
        words = line.decode("utf-8", "replace").split(" ")
        if len(words) != 3 or not all(words):
            return m.Error("BAD_ARGUMENTS", "AUTH: takes a user and a secret")
        return Auth(*words[1:])  # type: ignore[return-value]  # known to this file alone


class Guard(NamedTuple):
    """What a server asks of who comes. `tls` and `users` may each be None: then that is not asked for."""

    tls: ssl.SSLContext | None
    users: Users | None


class SecureLink(LimitedLink):
    server: "SecureServer"
    first_coding = GuardedLines

    def __init__(self, server: Server, conn: socket.socket):
        super().__init__(server, conn)
        self.role, self.guesses, self.ended = "", 0, False
        self.until = time.monotonic() + STRANGERS_S
        if self.server.guard.users is None:
            self.enter("admin")

    def enter(self, role: str) -> None:
        self.role, self.coding.line_max = role, LINE_MAX

    def receive(self) -> bytes:
        if isinstance(self.conn, ssl.SSLSocket) and not self.conn.version():
            self.conn.settimeout(STRANGERS_S)
            self.conn.do_handshake()  # in this connection's own thread: who dawdles keeps nobody waiting
            self.conn.settimeout(None)
        if self.ended:
            return b""
        if self.role:
            return super().receive()
        self.conn.settimeout(max(self.until - time.monotonic(), 0.001))
        try:
            return self.conn.recv(65536)
        finally:
            self.conn.settimeout(None)

    def execute(self, command: m.Command) -> m.Reply:
        if isinstance(command, Auth):
            return self.authenticate(command)
        if not self.role and type(command) not in ANYBODY:
            return m.Error("UNAUTHENTICATED", "say AUTH <user> <secret> first")
        if self.role != "admin" and self.role and type(command) not in MAY[self.role]:
            return m.Error("FORBIDDEN", f"not for a {self.role}")
        return super().execute(command)

    def authenticate(self, auth: Auth) -> m.Reply:
        users = self.server.guard.users
        if self.ended or users is None:
            why = "too many guesses" if self.ended else "nobody is asked for a name here"
            return m.Error("UNAUTHENTICATED", why)
        self.role = ""  # an attempt that fails leaves nobody inside
        if role := users.role(*auth):
            self.enter(role)
            return m.Ok()
        self.guesses += 1
        self.ended = self.guesses >= GUESSES_MAX
        return m.Error("UNAUTHENTICATED", "no such user, or another secret")

    def has_hung_up(self) -> bool:
        """Nobody can peek through TLS: there, who has closed its side is gone, whatever it said before."""
        if not isinstance(self.conn, ssl.SSLSocket):
            return super().has_hung_up()
        poll = select.poll()
        poll.register(self.conn, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
        return bool(poll.poll(0))

    def hang_up(self, how: int) -> None:
        """Below TLS: its own shutdown would make a thread that is about to write do so in the clear."""
        with contextlib.suppress(OSError):  # it may have ended meanwhile
            socket.socket.shutdown(self.conn, how)


class SecureServer(LimitedServer):
    link = SecureLink

    def __init__(self, broker: Broker, host: str, port: int, limits: Limits, weighed: Weighed, guard: Guard):
        self.guard = guard
        super().__init__(broker, host, port, limits, weighed)

    def admit(self, conn: socket.socket, address: tuple[str, int]) -> None:
        if self.guard.tls:
            try:
                conn = self.guard.tls.wrap_socket(conn, server_side=True, do_handshake_on_connect=False)
            except OSError:  # it has gone already
                conn.close()
                return
        super().admit(conn, address)


def server_tls(certificate: Path, key: Path, client_ca: Path | None) -> ssl.SSLContext:
    """Raises OSError, also for what is no certificate (ssl.SSLError)."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=client_ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    if client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def is_exposed(host: str) -> bool:
    """Whether others than this machine can come to such an address."""
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"


class Door:
    """For Connection's `connect`: opens a socket through TLS and AUTH, as far as they are given."""

    def __init__(self, ca: Path | None = None, user: str = "", secret: str = ""):
        self.tls = ssl.create_default_context(cafile=ca) if ca else None
        self.user, self.secret = user, secret

    def __call__(self, address: tuple[str, int], timeout_s: float) -> socket.socket:
        """Raises Refused if the user is not let in; OSError, also if the certificate is another's."""
        opened = socket.create_connection(address, timeout_s)
        try:
            if self.tls:
                opened = self.tls.wrap_socket(opened, server_hostname=address[0])
            if self.user:
                self.authenticate(opened)
        except BaseException:
            opened.close()
            raise
        return opened

    def authenticate(self, opened: socket.socket) -> None:
        opened.sendall(f"AUTH {self.user} {self.secret}\n".encode())
        answer = b""
        while not answer.endswith(b"\n"):
            if not (more := opened.recv(1024)):
                raise ConnectionError("the broker closed the connection")
            answer += more
        if answer != b"OK\n":
            _, code, text = answer.decode().rstrip("\n").split(" ", 2)
            raise Refused(code, text)
