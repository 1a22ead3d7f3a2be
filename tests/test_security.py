"""Strangers at the door: what they are told, and what they never learn."""
import base64
import contextlib
import os
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_server import DEADLINE_S, ROOT, Wire, started, until

from dsjq import OutcomeUnknown, Producer, Refused, Worker
from dsjq import messages as m
from dsjq.broker import Broker
from dsjq.extensions import binary as frames
from dsjq.extensions.credentials import ROLES, Users, made, make_certificates
from dsjq.extensions.limits import Limits, Weighed
from dsjq.extensions.security import ANYBODY, MAY, Auth, Door, Guard, SecureServer, is_exposed, server_tls
from dsjq.lifecycle import DECISIONS
from dsjq.store import MemoryStore, Unusable
from dsjq.text import COMMANDS

SECRET = "a secret of twenty letters".replace(" ", "-")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder, ["localhost", "127.0.0.1"])
    return folder


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Users:
    users = made(tmp_path_factory.mktemp("users") / "users")
    for role in ROLES:
        users.put(role[0], role, SECRET)
    return users


@contextlib.contextmanager
def serving(users: Users | None = None, tls: ssl.SSLContext | None = None) -> Iterator[SecureServer]:
    weighed = Weighed(MemoryStore())
    server = SecureServer(Broker(store=weighed), "127.0.0.1", 0, Limits(), weighed, guard=Guard(tls, users))
    try:
        yield server
    finally:
        server.stop()
        assert not server.links and not server.per_host


def plain_lines() -> list[str]:
    arguments = {"PUT": " -- x", "SUBMIT": " x", "HELLO": " name=x",
                 "DECLARE": " queue x", "BIND": " x y", "UNBIND": " x y", "PUBLISH": " x y -- z",
                 **dict.fromkeys(["REQUEST", "RESERVE", "STATS", "JOBS", "PING", "QUIT", "TOPOLOGY"], "")}
    return [verb + arguments.get(verb, " 1") for verb in map(bytes.decode, COMMANDS)]


def test_a_stranger_is_answered_nothing_but_ping_and_quit(users: Users) -> None:
    with serving(users) as server:
        for line in plain_lines():
            with Wire(server.address) as stranger:
                answer = stranger.ask(line)
                if line in ("PING", "QUIT"):
                    assert answer in ("PONG", "OK")
                else:
                    assert answer == "ERROR UNAUTHENTICATED say AUTH <user> <secret> first", line
        assert not server.broker.queue.jobs


def test_each_command_is_somebodys_and_a_new_one_is_the_admins_alone() -> None:
    commands = {*DECISIONS, m.Hello} - {m.Disconnect}
    assert set().union(*MAY.values()) <= commands
    assert {command.__name__ for command in commands - set().union(*MAY.values())} == {
        "Kick", "Jobs", "Declare", "Bind", "Unbind", "Topology"}
    assert {m.Ping, m.Quit} == ANYBODY


def test_a_role_is_what_one_may(users: Users) -> None:
    with serving(users) as server:
        answers = {}
        for name in "pwa":
            with Wire(server.address) as wire:
                assert wire.ask(f"AUTH {name} {SECRET}") == "OK"
                answers[name] = [wire.ask(line).split(" ")[:2] for line in ("SUBMIT x", "REQUEST", "JOBS")]
    forbidden = ["ERROR", "FORBIDDEN"]
    assert [answer == forbidden for answer in answers["p"]] == [False, True, True]
    assert [answer == forbidden for answer in answers["w"]] == [True, False, True]
    assert forbidden not in answers["a"]


def test_three_wrong_secrets_end_the_connection_even_if_a_right_one_follows(users: Users) -> None:
    with serving(users) as server, Wire(server.address) as wire:
        wire.send(f"AUTH a wrong\nAUTH nobody {SECRET}\nAUTH a {SECRET[:-1]}\nAUTH a {SECRET}\nSTATS\n")
        said = [wire.read() for _ in range(5)]
        assert said[:3] == ["ERROR UNAUTHENTICATED no such user, or another secret"] * 3
        assert said[3].startswith("ERROR UNAUTHENTICATED") and said[4].startswith("ERROR UNAUTHENTICATED")
        assert wire.read() == ""


def test_a_failed_auth_leaves_nobody_inside(users: Users) -> None:
    with serving(users) as server, Wire(server.address) as wire:
        assert wire.ask(f"AUTH a {SECRET}") == "OK"
        assert wire.ask("AUTH a wrong").startswith("ERROR UNAUTHENTICATED")
        assert wire.ask("STATS").startswith("ERROR UNAUTHENTICATED")


def test_a_strangers_lines_are_short_and_a_users_long(users: Users) -> None:
    with serving(users) as server, Wire(server.address) as wire:
        assert wire.ask("PING" + "x" * 300) == "ERROR LINE_TOO_LONG a line holds at most 256 bytes"
        assert wire.ask(f"AUTH p {SECRET}") == "OK"
        assert wire.ask("SUBMIT " + "x" * 300) == "JOB_ID 1"


def test_a_stranger_who_says_nothing_is_let_go(users: Users, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsjq.extensions.security.STRANGERS_S", 0.05)
    with serving(users) as server, Wire(server.address) as wire:
        assert wire.read() == ""


def test_clients_come_in_through_tls_with_their_secret(users: Users, certificates: Path) -> None:
    tls = server_tls(certificates / "server.pem", certificates / "server.key", None)
    with serving(users, tls) as server:
        door = Door(certificates / "ca.pem", "p", SECRET)
        with Producer(*server.address, connect=door) as producer:
            assert [producer.submit("x" * 50_000), producer.submit("b")] == [1, 2]
        with Worker(*server.address, connect=Door(certificates / "ca.pem", "w", SECRET)) as worker:
            job = worker.reserve()
            assert job is not None and len(job.payload) == 50_000
            worker.ack(job)
            with pytest.raises(Refused, match="FORBIDDEN"):
                worker.call(m.Kick(1))
        with pytest.raises(Refused, match="UNAUTHENTICATED"):
            Worker(*server.address, connect=Door(certificates / "ca.pem", "w", "wrong"))


def test_frames_come_in_by_the_same_door(users: Users, certificates: Path) -> None:
    tls = server_tls(certificates / "server.pem", certificates / "server.key", None)
    with serving(users, tls) as server:
        with frames.Producer(*server.address, connect=Door(certificates / "ca.pem", "p", SECRET)) as producer:
            assert producer.submit_many([b"\0\n", b"x" * 200_000]) == [1, 2]
            with pytest.raises(Refused, match="FORBIDDEN"):
                producer.call(m.Reserve())
        door = Door(certificates / "ca.pem", "w", SECRET)
        with frames.Worker(*server.address, connect=door, prefetch=2) as worker:
            job = worker.reserve()
            assert job is not None and job.payload == b"\0\n"
            worker.ack(job)


def test_a_worker_that_hangs_up_while_it_waits_is_handed_nothing(certificates: Path) -> None:
    tls = server_tls(certificates / "server.pem", certificates / "server.key", None)
    with serving(None, tls) as server:
        door = Door(certificates / "ca.pem")
        worker = Worker(*server.address, connect=door)
        worker.socket.sendall(b"RESERVE wait=600\n")
        until(lambda: server.broker.work._waiters)
        worker.close()
        with Producer(*server.address, connect=door) as producer:
            producer.submit("x")
        until(lambda: not server.links)
        assert server.broker.queue.counts["PENDING"] == 1


def test_the_wrong_authority_is_not_believed_and_no_secret_is_sent(certificates: Path, users: Users,
                                                                   tmp_path: Path) -> None:
    make_certificates(tmp_path, ["localhost"])
    tls = server_tls(certificates / "server.pem", certificates / "server.key", None)
    with serving(users, tls) as server:
        with pytest.raises(Refused, match="certificate verify failed"):
            Worker(*server.address, connect=Door(tmp_path / "ca.pem", "w", SECRET))
        with Wire(server.address) as plain:
            plain.send(f"AUTH w {SECRET}\n")
            with contextlib.suppress(ConnectionError, UnicodeDecodeError):
                assert "OK" not in plain.read()


def test_a_client_without_a_certificate_stays_outside_where_one_is_asked_for(certificates: Path) -> None:
    tls = server_tls(certificates / "server.pem", certificates / "server.key", certificates / "ca.pem")
    with serving(None, tls) as server, pytest.raises((Refused, OutcomeUnknown)), \
            Worker(*server.address, connect=Door(certificates / "ca.pem")) as worker:
        worker.reserve()


def test_a_secret_is_never_shown() -> None:
    assert SECRET not in repr(Auth("a", SECRET)) + str(Auth("a", SECRET)) + f"{Auth('a', SECRET)}"


@pytest.mark.parametrize(("host", "exposed"), [
    ("127.0.0.1", False), ("127.9.9.9", False), ("::1", False), ("localhost", False),
    ("0.0.0.0", True), ("::", True), ("10.0.0.1", True), ("example.org", True)])
def test_who_can_come(host: str, exposed: bool) -> None:
    assert is_exposed(host) == exposed


def dsjq(*words: str, secret: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "dsjq", *words], capture_output=True, text=True, cwd=ROOT,
                          stdin=subprocess.DEVNULL, env={**os.environ, "DSJQ_SECRET": secret})


def test_the_broker_does_not_listen_beyond_the_machine_without_a_lock() -> None:
    refused = dsjq("serve", "--host", "0.0.0.0", "--port", "0")
    assert refused.returncode == 1 and "--insecure" in refused.stderr
    serve = [sys.executable, "-m", "dsjq", "serve", "--host", "0.0.0.0", "--port", "0"]
    with started([*serve, "--insecure"]) as process:
        assert process.stdout.readline().startswith("listening on 0.0.0.0:")


def test_users_are_added_listed_and_removed_and_the_file_is_its_owners(tmp_path: Path) -> None:
    file = tmp_path / "users"
    assert dsjq("user", "add", "ann", "--role", "admin", "--file", str(file), secret=SECRET).returncode == 0
    assert dsjq("user", "add", "bob", "--file", str(file), secret=SECRET).returncode == 0
    assert file.stat().st_mode & 0o777 == 0o600
    assert SECRET not in file.read_text()
    assert dsjq("user", "list", "--file", str(file)).stdout == "ann admin\nbob worker\n"
    assert dsjq("user", "remove", "bob", "--file", str(file)).returncode == 0
    gone = dsjq("user", "remove", "bob", "--file", str(file))
    assert gone.returncode == 1 and "no user bob" in gone.stderr
    assert Users(file).role("ann", SECRET) == "admin"
    file.chmod(0o644)
    with pytest.raises(Unusable, match="chmod 600"):
        Users(file)
    file.chmod(0o600)
    file.write_text("garbage\n")
    with pytest.raises(Unusable, match="users:1: not"):
        Users(file)


def test_the_command_line_speaks_tls_and_says_who_it_is(users: Users, certificates: Path) -> None:
    serve = [sys.executable, "-m", "dsjq", "serve", "--port", "0", "--users", str(users.path),
             "--tls-cert", str(certificates / "server.pem"), "--tls-key", str(certificates / "server.key")]
    with started(serve) as process:
        port = process.stdout.readline().rpartition(":")[2].strip()
        how = ["--port", port, "--tls-ca", str(certificates / "ca.pem"), "--user"]
        assert dsjq("submit", "hello", *how, "p", secret=SECRET).stdout == "1\n"
        assert "UNAUTHENTICATED" in dsjq("submit", "hello", *how, "p", secret="wrong").stderr
        assert '"submitted": 1' in dsjq("top", "--once", "--json", *how, "a", secret=SECRET).stdout
        assert "FORBIDDEN" in dsjq("kick", "--all", *how, "w", secret=SECRET).stderr


def test_the_web_page_is_for_admins_and_speaks_tls_too(users: Users, certificates: Path) -> None:
    serve = [sys.executable, "-m", "dsjq", "serve", "--port", "0", "--web", "0", "--users", str(users.path),
             "--tls-cert", str(certificates / "server.pem"), "--tls-key", str(certificates / "server.key")]
    trusting = ssl.create_default_context(cafile=certificates / "ca.pem")
    with started(serve) as process:
        process.stdout.readline()
        url = process.stdout.readline().split()[-1]
        assert url.startswith("https://127.0.0.1:")

        def status(path: str, user: str = "", secret: str = SECRET) -> int:
            request = urllib.request.Request(url + path)
            if user:
                word = base64.b64encode(f"{user}:{secret}".encode()).decode()
                request.add_header("Authorization", f"Basic {word}")
            try:
                return int(urllib.request.urlopen(request, context=trusting, timeout=DEADLINE_S).status)
            except urllib.error.HTTPError as refused:
                assert refused.headers["WWW-Authenticate"].startswith("Basic")
                return refused.code

        for path in ("", "state", "metrics", "events", "nowhere"):
            assert status(path) == status(path, "p") == status(path, "a", "wrong") == 401
        assert [status(path, "a") for path in ("", "state", "metrics")] == [200, 200, 200]
