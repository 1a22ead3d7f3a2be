"""The command line: `dsjq serve`, and a small client for every thing that a broker can be asked.

Ring 1 does not depend on this file. What is printed on stdout is the result; stderr is for people.
"""
import argparse
import getpass
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import messages as m
from .broker import Broker
from .client import Connection, OutcomeUnknown, Refused
from .extensions import routing
from .extensions.plain import printable
from .server import Server
from .store import MemoryStore, StorageFull, Store, Unusable
from .workers import Job, Producer, Worker

STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}
UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def main(argv: Sequence[str] | None = None, *, broker: type[Broker] = Broker) -> None:
    """Run one command. `broker` is the class that `serve` serves: a patched one, perhaps."""
    argv = sys.argv[1:] if argv is None else argv
    options = _parser(argv).parse_args(argv)
    try:
        status = options.run(options, broker) if options.command == "serve" else options.run(options)
    except Refused as problem:
        sys.exit(f"dsjq: refused: {problem}")
    except OutcomeUnknown as problem:
        sys.exit(f"dsjq: outcome unknown, it may have happened: {problem}")
    except BrokenPipeError:
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(status or 0)


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dsjq", description="A small job queue over TCP.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(run: Any, summary: str, *, talks: bool = True) -> argparse.ArgumentParser | None:
        """Its parser, if it is named: to make the options of all would take most of a broker's start."""
        name = run.__name__.strip("_")
        sub = commands.add_parser(name, help=summary, description=summary)
        if name not in argv:
            return None
        sub.set_defaults(run=run)
        if talks:
            sub.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
            sub.add_argument("--port", type=int, default=4730, help="default: %(default)s")
        if talks and run is not _serve:
            sub.add_argument("--tls-ca", type=Path, metavar="FILE",
                             help="speak TLS, to a broker whose certificate this authority signed")
            sub.add_argument("--user", default="", help="say who you are; the secret is in DSJQ_SECRET")
        return sub

    if sub := command(_serve, "Serve until SIGTERM or SIGINT. Port 0 picks a free one."):
        _add_serving(sub)

    if sub := command(_submit, "Submit jobs and print their ids."):
        _add_terms(sub)

    about = "Publish to an exchange: a job in each queue that it leads to. Prints their ids."
    if sub := command(_publish, about):
        sub.add_argument("exchange")
        sub.add_argument("routing_key", help="'' for an exchange that does not ask for one")
        _add_terms(sub)

    if sub := command(_declare, "Make a queue or an exchange, unless it is there."):
        sub.add_argument("kind", choices=["queue", *routing.KINDS], help="queue, or what the exchange is")
        sub.add_argument("name")

    for run, summary in ((_bind, "Let an exchange lead into a queue."), (_unbind, "Let it do so no longer.")):
        if sub := command(run, summary):
            sub.add_argument("queue")
            sub.add_argument("exchange")
            sub.add_argument("routing_key", nargs="?", default="", help="of a topic exchange: a pattern")

    if sub := command(_topology, "Queues and exchanges, and what leads where."):
        sub.add_argument("--json", action="store_true")

    if sub := command(_work, "Run a command for each job: its payload on stdin; exit 0 acknowledges."):
        sub.add_argument("--queue", default="", help="whose jobs; without it those that were submitted")
        sub.add_argument("--name", default=None, help="what the broker shows of this worker")
        sub.add_argument("--max-runtime", type=_duration, default=3600.0, metavar="1h",
                         help="kill a command that takes longer, and fail its job")
        sub.add_argument("--exec", nargs=argparse.REMAINDER, required=True, metavar="CMD",
                         help="the command and its arguments, without a shell; must come last")

    if sub := command(_stats, "How many jobs are in which state."):
        sub.add_argument("--json", action="store_true")

    if sub := command(_jobs, "List the jobs that are not done, or those in one state."):
        sub.add_argument("--state", choices=["PENDING", "IN_FLIGHT", "FAILED", "DONE", "DEAD"])
        sub.add_argument("--json", action="store_true", help="one object a line")

    if sub := command(_top, "Watch jobs and workers; where the output is no terminal, look once."):
        sub.add_argument("--interval", type=_duration, default=1.0, metavar="1s", help="between two looks")
        sub.add_argument("--once", action="store_true", help="look once")
        sub.add_argument("--json", action="store_true", help="one object a look")

    if sub := command(_kick, "Give dead jobs another chance."):
        sub.add_argument("id", nargs="*", type=_positive)
        sub.add_argument("--all", action="store_true", help="every dead job")

    if sub := command(_user, "Who may come in: add, remove or list the users of a file.", talks=False):
        sub.add_argument("action", choices=["add", "remove", "list"])
        sub.add_argument("name", nargs="?", default="")
        sub.add_argument("--file", type=Path, required=True, help="what `serve --users` is given")
        sub.add_argument("--role", choices=["producer", "worker", "admin"], default="worker",
                         help="of who is added (default: %(default)s); "
                              "its secret is in DSJQ_SECRET or asked for")

    about = "Make a throw-away authority and a broker's certificate: ca.pem, server.pem, server.key."
    if sub := command(_certs, about, talks=False):
        sub.add_argument("folder", type=Path)
        sub.add_argument("--for", dest="hosts", nargs="+", default=["localhost", "127.0.0.1"], metavar="HOST",
                         help="names and addresses of the broker (default: localhost 127.0.0.1)")
    return parser


def _add_serving(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--ack-timeout", type=_duration, default=30.0, metavar="30s",
                     help="how long a worker may hold a job without renewing its lease")
    sub.add_argument("--max-attempts", type=_positive, default=5, metavar="N",
                     help="deliveries before a job is dead (default: %(default)s)")
    sub.add_argument("--backoff", type=_duration, default=None, metavar="1s",
                     help="the longest pause before a failed job's first retry, doubled with every other; "
                          "without it a failed job is tried again at once")
    sub.add_argument("--backoff-cap", type=_duration, default=300.0, metavar="5m",
                     help="no pause is longer (default: 5m)")
    sub.add_argument("--backoff-seed", type=int, default=0, metavar="N",
                     help="the pauses of two brokers with one seed are the same (default: %(default)s)")
    sub.add_argument("--grace", type=_duration, default=5.0, metavar="5s",
                     help="how long jobs in flight may take when the broker is to stop (default: 5s)")
    sub.add_argument("--data", type=Path, metavar="DIR",
                     help="keep the jobs in this folder; without it they end with the broker")
    sub.add_argument("--store", choices=["journal", "sqlite"],
                     help="how to keep them there (default: journal)")
    sub.add_argument("--web", type=int, metavar="PORT",
                     help="a web page that shows what goes on inside, and /metrics; 0 picks a free port")
    limits = sub.add_argument_group("limits, beyond which the broker refuses")
    for field, (kind, default, about) in LIMITS.items():
        option = "--" + field.replace("_s", "_time").replace("_", "-")
        limits.add_argument(option, dest=field, type=kind, default=default, metavar=default,
                            help=f"{about} (default: %(default)s)")

    door = sub.add_argument_group("the door")
    door.add_argument("--tls-cert", type=Path, metavar="FILE", help="speak TLS, with this certificate")
    door.add_argument("--tls-key", type=Path, metavar="FILE", help="and its key")
    door.add_argument("--tls-client-ca", type=Path, metavar="FILE",
                      help="let in only clients whose certificate this authority signed")
    door.add_argument("--users", type=Path, metavar="FILE", help="let in only these (see `dsjq user`)")
    door.add_argument("--insecure", action="store_true",
                      help="listen beyond this machine without TLS and users")


def _add_terms(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("payload", nargs="+", help="one job each; - reads one from each line of stdin")
    sub.add_argument("--delay", type=_duration, default=0.0, metavar="10m", help="nobody gets it before")
    sub.add_argument("--priority", type=int, default=0, metavar="N",
                     help="-9 to 9, the smaller goes first (default: %(default)s)")
    sub.add_argument("--lease", type=_duration, default=0.0, metavar="30s",
                     help="its own ack timeout")
    sub.add_argument("--retries", type=int, default=None, metavar="N", help="its own limit, 0 to 1000")
    sub.add_argument("--key", default="", help="submitted again with this key, it is the same job")


def _duration(text: str) -> float:
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)", text)
    if not match or not float(match[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; write 250ms, 30s, 5m or 1h")
    return float(match[1]) * UNITS_S[match[2]]


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 up")
    return int(text)


LIMITS = {  # fields of extensions.limits.Limits
    "connections": (_positive, "1000", "connections at a time"),
    "connections_per_address": (_positive, "1000", "of which from one address"),
    "jobs": (_positive, "1000000", "jobs that are not done"),
    "payload_bytes": (_positive, "1073741824", "bytes of their payloads"),
    "command_s": (_duration, "30s", "from the first byte of a command to its last"),
    "reply_s": (_duration, "30s", "until a client takes its reply"),
}


def _serve(options: argparse.Namespace, broker: type[Broker]) -> None:
    if options.store and not options.data:
        sys.exit("dsjq: --store needs --data")
    from .extensions.limits import LimitedServer, Limits, Weighed
    try:
        guard = _guard(options)
        store = _store(options)
        watched = _watched(_traced(store), options)
        weighed = Weighed(watched)
        served = broker(options.ack_timeout, options.max_attempts, weighed)
    except (Unusable, StorageFull, OSError) as problem:
        sys.exit(f"dsjq: cannot start: {problem}")
    if options.backoff:
        from .extensions.scheduling import Backoff
        served.queue.backoff = Backoff(options.backoff, options.backoff_cap, options.backoff_seed)
    if options.data:
        jobs = ", ".join(f"{count} {state}" for state, count in served.queue.counts.items() if count)
        print(f"recovered {store.recovered} records from {store.path}: {jobs or 'no jobs'}; "
              f"{store.cut} bytes cut off", file=sys.stderr)
    limits = Limits(**{field: getattr(options, field) for field in LIMITS})
    # Blocked in all threads, a signal stays pending until sigwait() takes it. With a handler it could get
    # lost: one that strikes just before the main thread falls asleep wakes nobody.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        if guard:
            from .extensions.security import SecureServer
            server: Server = SecureServer(served, options.host, options.port, limits, weighed, guard)
        else:
            server = LimitedServer(served, options.host, options.port, limits, weighed)
    except (OSError, OverflowError) as problem:
        sys.exit(f"dsjq: cannot listen on {options.host}:{options.port}: {problem}")
    print("listening on {}:{}".format(*server.address), flush=True)
    if options.web is not None:
        _show(served, watched, options, guard)
    print(f"stopping on {signal.Signals(signal.sigwait(STOP_SIGNALS)).name}", file=sys.stderr)
    served.drain(options.grace)
    server.stop()


def _guard(options: argparse.Namespace) -> Any:
    """What is asked of who comes; None for a broker that anybody on this machine may use."""
    wanted = [options.tls_cert, options.tls_key, options.tls_client_ca, options.users]
    if options.host in ("127.0.0.1", "localhost", "::1") and not any(wanted):
        return None  # without a word of TLS
    from .extensions.credentials import Users
    from .extensions.security import Guard, is_exposed, server_tls
    if bool(options.tls_cert) != bool(options.tls_key) or (options.tls_client_ca and not options.tls_cert):
        raise Unusable("TLS needs --tls-cert and --tls-key")
    if is_exposed(options.host) and not options.insecure and not (options.tls_cert and options.users):
        raise Unusable(f"others could come to {options.host}: that needs --tls-cert, --tls-key and --users, "
                       "or --insecure")
    tls = server_tls(options.tls_cert, options.tls_key, options.tls_client_ca) if options.tls_cert else None
    return Guard(tls, Users(options.users) if options.users else None)


def _door(options: argparse.Namespace) -> Any:
    """How a client's connections are opened."""
    if not (options.tls_ca or options.user):
        return socket.create_connection
    from .extensions.security import Door
    try:
        return Door(options.tls_ca, options.user, os.environ.get("DSJQ_SECRET", ""))
    except OSError as problem:
        sys.exit(f"dsjq: {options.tls_ca}: {problem}")


def _user(options: argparse.Namespace) -> None:
    from .extensions.credentials import Users, made
    if bool(options.name) == (options.action == "list") or " " in options.name:
        sys.exit("dsjq: user add NAME, user remove NAME, or user list; a name has no spaces")
    try:
        if options.action == "list":
            for user in Users(options.file).users.values():
                print(f"{user.name} {user.role}")
        elif options.action == "remove":
            Users(options.file).remove(options.name)
        else:
            secret = os.environ.get("DSJQ_SECRET") or getpass.getpass(f"secret of {options.name}: ")
            if not secret or " " in secret:
                sys.exit("dsjq: a secret is not empty and has no spaces")
            made(options.file).put(options.name, options.role, secret)
    except Unusable as problem:
        sys.exit(f"dsjq: {problem}")
    except KeyError:
        sys.exit(f"dsjq: {options.file} has no user {options.name}")


def _certs(options: argparse.Namespace) -> None:
    from .extensions.credentials import make_certificates
    try:
        make_certificates(options.folder, options.hosts)
    except Unusable as problem:
        sys.exit(f"dsjq: {problem}")
    print(f"dsjq serve --tls-cert {options.folder}/server.pem --tls-key {options.folder}/server.key")
    print(f"dsjq stats --tls-ca {options.folder}/ca.pem")


def _store(options: argparse.Namespace) -> Any:
    if not options.data:
        return MemoryStore()
    if options.store == "sqlite":
        from .extensions.sqlite import SQLite
        return SQLite(options.data)
    from .extensions.journal import Journal
    return Journal(options.data)


def _traced(store: Store) -> Store:
    """What the lab asks for, to see what goes on inside."""
    if path := os.environ.get("DSJQ_TRACE"):
        from .extensions.trace import Traced
        return Traced(store, path)
    return store


def _watched(store: Store, options: argparse.Namespace) -> Any:
    if options.web is None:
        return store
    from .extensions.dashboard import Seen
    return Seen(store)


def _show(broker: Broker, seen: Any, options: argparse.Namespace, guard: Any) -> None:
    from .extensions.dashboard import Watch, Web
    try:
        web = Web(Watch(broker, seen), options.host, options.web, *(guard or ()))
    except (OSError, OverflowError) as problem:
        print(f"dsjq: no web page on {options.host}:{options.web}: {problem}", file=sys.stderr)
    else:
        print(f"web page on {web.url}", flush=True)


def _submit(options: argparse.Namespace) -> None:
    with Producer(options.host, options.port, connect=_door(options)) as producer:
        _send_each(options, producer.submit)


def _publish(options: argparse.Namespace) -> None:
    where = options.exchange, options.routing_key
    with Producer(options.host, options.port, connect=_door(options)) as producer:
        _send_each(options, lambda line, **terms: " ".join(
            map(str, _report(producer, routing.Publish(*where, line, **terms)))))


def _send_each(options: argparse.Namespace, send: Callable[..., object]) -> None:
    if options.key and (len(options.payload) > 1 or options.payload == ["-"]):
        sys.exit("dsjq: a key is that of one job")
    terms = {"delay_s": options.delay, "priority": options.priority, "lease_s": options.lease,
             "retries": options.retries, "key": options.key}
    done = 0
    for payload in options.payload:
        for line in _stdin_lines() if payload == "-" else [payload.encode()]:
            try:
                print(send(line, **terms))
            except ValueError as problem:
                sys.exit(f"dsjq: job {done + 1} was not submitted: {problem}")
            done += 1
            if sys.stderr.isatty() and done % 1000 == 0:
                print(f"\r{done} submitted", end="", file=sys.stderr)


def _stdin_lines() -> Any:
    return (line.rstrip(b"\r\n") for line in sys.stdin.buffer)


def _work(options: argparse.Namespace) -> None:
    if not options.exec:
        sys.exit("dsjq: --exec needs a command")
    stopping: list[int] = []
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda signum, frame: stopping.append(signum))

    def handler(job: Job) -> None:
        # In its own session, so that a Ctrl-C meant for us does not end the job in hand.
        subprocess.run(options.exec, input=job.payload, check=True, timeout=options.max_runtime,
                       start_new_session=True)

    def report(job: Job, problem: Exception) -> None:
        print(f"job {job.id}, attempt {job.attempt}: {problem}", file=sys.stderr)

    with Worker(options.host, options.port, name=options.name, connect=_door(options)) as worker:
        worker.queue = options.queue
        worker.run(handler, stop=lambda: bool(stopping), max_runtime_s=options.max_runtime,
                   on_problem=report)


def _stats(options: argparse.Namespace) -> None:
    with Connection(options.host, options.port, connect=_door(options)) as connection:
        stats = _report(connection, m.Stats())
    if options.json:
        print(json.dumps(stats))
        return
    for key, value in stats.items():
        if key != "workers":
            print(f"{key:12}{value}")
    for worker in stats["workers"]:
        if worker["jobs"]:
            print(f"{printable(worker['name'])} holds {', '.join(map(str, worker['jobs']))}")


def _jobs(options: argparse.Namespace) -> None:
    with Connection(options.host, options.port, connect=_door(options)) as connection:
        for job in _all_jobs(connection, options.state):
            if options.json:
                print(json.dumps(job))
            else:
                print(f"{job['id']:>6}  {job['state']:9}  attempts {job['attempts']}  "
                      f"{printable(job['payload'])[:80]}")


def _declare(options: argparse.Namespace) -> None:
    _tell(options, routing.Declare(options.kind, options.name))


def _bind(options: argparse.Namespace) -> None:
    _tell(options, routing.Bind(options.queue, options.exchange, options.routing_key))


def _unbind(options: argparse.Namespace) -> None:
    _tell(options, routing.Unbind(options.queue, options.exchange, options.routing_key))


def _tell(options: argparse.Namespace, command: Any) -> None:
    with Connection(options.host, options.port, connect=_door(options)) as connection:
        try:
            connection.call(command)
        except ValueError as problem:
            sys.exit(f"dsjq: {problem}")


def _topology(options: argparse.Namespace) -> None:
    with Connection(options.host, options.port, connect=_door(options)) as connection:
        topology = _report(connection, routing.Topology())
    if options.json:
        print(json.dumps(topology))
        return
    for name, counts in topology["queues"].items():
        states = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        print(f"queue {printable(name) or '(that of submit)'}: {states or 'no jobs'}")
    for name, exchange in topology["exchanges"].items():
        print(f"{exchange['kind']} {printable(name)}: {exchange['unroutable']} unroutable")
        for queue, key in exchange["bindings"]:
            print(f"  {printable(key) or '(empty)'} -> {printable(queue)}")


def _top(options: argparse.Namespace) -> None:
    from .extensions.top import show
    with Connection(options.host, options.port, connect=_door(options)) as connection:
        try:
            show(connection, sys.stdout, options.once, options.json, options.interval)
        except OutcomeUnknown as problem:
            sys.exit(f"dsjq: the broker has gone: {problem}")


def _kick(options: argparse.Namespace) -> None:
    if bool(options.id) == options.all:
        sys.exit("dsjq: name the ids to kick, or --all")
    with Connection(options.host, options.port, connect=_door(options)) as connection:
        for id in options.id or [job["id"] for job in _all_jobs(connection, "DEAD")]:
            connection.call(m.Kick(id))
            print(id)


def _all_jobs(connection: Connection, state: str | None) -> Any:
    after = 0
    while page := _report(connection, m.Jobs(state, after)):
        yield from page
        after = page[-1]["id"]


def _report(connection: Connection, command: Any) -> Any:
    reply = connection.call(command)
    assert isinstance(reply, m.Report), reply
    return reply.data


if __name__ == "__main__":
    main()
