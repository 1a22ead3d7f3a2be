"""The broker's web page, and its figures for Prometheus: `dsjq serve --web PORT`.

A store around the store sees every record pass, and keeps count; all else is looked up in the queue, once a
second, under the broker's lock and in a time that does not grow with the queue. The page only looks.

What a browser is sent may have been written by anybody, and so may be the page that made a browser ask. So
payloads travel as JSON and are set as text, never as markup; a policy forbids every script but the page's
own; and who asks for us by a foreign name, which can be made to mean our address, is turned away.
"""
import base64
import hashlib
import ipaddress
import json
import math
import re
import threading
import time
from bisect import bisect_right
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .. import messages as m
from ..broker import Broker
from ..lifecycle import DONE, IN_FLIGHT, LISTED, TIMED, Job, Queue
from ..store import Store
from .plain import printable

PAGE = Path(__file__).with_suffix(".html").read_bytes()
PERIOD_S = 1.0
RATES_OVER = 5  # periods
SHOWN = 50  # jobs that are leased, and as many others
VISITORS_MAX = 50  # connections at once
MARKS_MAX = 100_000
PATIENCE_S = 10.0  # for a request, and for whoever does not read what it is sent
ENDS: dict[type[Any], str] = {m.Acked: "acked", m.Failed: "failed", m.Released: "released"}


def policy() -> str:
    own = {kind: "'sha256-" + base64.b64encode(hashlib.sha256(inline).digest()).decode() + "'"
           for kind, inline in re.findall(rb"<(script|style)>(.*?)</\1>", PAGE, re.DOTALL)}
    return (f"default-src 'none'; script-src {own[b'script']}; style-src {own[b'style']}; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")


HEADERS = {"Content-Security-Policy": policy(), "X-Content-Type-Options": "nosniff",
           "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}


class Seen:
    """A store that passes everything on, and takes note."""

    def __init__(self, store: Store):
        self.store, self.epoch, self.clock_s = store, store.epoch, store.clock_s
        self.ended = dict.fromkeys((*ENDS.values(), "disconnect", "expiry"), 0)  # leases, and why
        self.hung: dict[int, int] = {}  # connection -> the job whose lease it let run out
        self.marks: deque[tuple[int, float]] = deque(maxlen=MARKS_MAX)  # (id, when it was submitted)

    def load(self, queue: Queue) -> None:
        self.store.load(queue)
        self.queue = queue
        self.mark(queue.submitted)

    def append(self, records: list[m.Record]) -> int:
        position = self.store.append(records)
        for record in records:
            self._note(record)
        return position

    def wait(self, position: int) -> None:
        self.store.wait(position)

    def mark(self, id: int) -> None:
        now = time.monotonic()
        if not self.marks or now - self.marks[-1][1] >= PERIOD_S:
            self.marks.append((id, now))

    def age_s(self, id: int) -> float:
        """How long ago the job was submitted, or at most a period more; or how long ago this began."""
        at = bisect_right(self.marks, (id, math.inf))
        return time.monotonic() - self.marks[max(0, at - 1)][1]

    def _note(self, record: Any) -> None:
        """It is not applied yet: the job is still as it was."""
        if isinstance(record, m.Submitted):
            self.mark(record.job)
        elif isinstance(record, m.Delivered):
            self.hung.pop(record.holder, None)
        elif (job := self.queue.jobs.get(getattr(record, "job", 0))) and job.state == IN_FLIGHT \
                and not isinstance(record, m.Touched):
            why = ENDS.get(type(record)) or record.why  # only Requeued and Died are left
            self.ended[why] += 1
            self.hung.pop(job.holder, None)
            if why == "expiry":
                self.hung[job.holder] = job.id


class Watch:
    """What there is to see of a broker whose store is `Seen`."""

    def __init__(self, broker: Broker, seen: Seen):
        self.broker, self.queue, self.seen = broker, broker.queue, seen
        self.lock = threading.Lock()
        self.samples: deque[tuple[float, dict[str, int]]] = deque(maxlen=RATES_OVER + 1)

    def look(self) -> dict[str, Any]:
        with self.broker.lock:
            queue, now = self.queue, time.monotonic() + self.seen.clock_s
            oldest = min((heap[0] for line in queue.lines.values() for heap in line.values()),
                         default=None)
            leased = [queue.jobs[id] for ids in islice(queue.held.values(), SHOWN) for id in sorted(ids)]
            others = (job for job in queue.jobs.values() if job.state != IN_FLIGHT)
            totals = {"submitted": queue.submitted, "deliveries": queue.deliveries,
                      "done": queue.counts[DONE]}
            look = {
                "states": {state.lower(): count for state, count in queue.counts.items()},
                **totals, "requeued": queue.requeued, "ended": dict(self.seen.ended),
                "oldest_pending_s": None if oldest is None else round(self.seen.age_s(oldest), 1),
                "workers": [self._worker(session, now) for session in self.broker.sessions.values()],
                "jobs": [_job(job, now) for job in (*leased[:SHOWN], *islice(others, SHOWN))],
            }
        return {**look, "rates": self._rates(totals)}

    def _worker(self, session: Any, now: float) -> dict[str, Any]:
        jobs = {id: round(self.queue.jobs[id].due - now, 1)
                for id in sorted(self.queue.held.get(session.id, ()))}
        over = [id for id, left_s in jobs.items() if left_s < 0]  # the next command takes it away
        hung = over[0] if over else self.seen.hung.get(session.id)
        return {"name": printable(session.name), "jobs": jobs, "hung": hung,
                "state": "hung" if hung else "working" if jobs else "up"}

    def _rates(self, totals: dict[str, int]) -> dict[str, float]:
        now = time.monotonic()
        with self.lock:
            if not self.samples or now - self.samples[-1][0] >= PERIOD_S / 2:
                self.samples.append((now, totals))
            then, before = self.samples[0]
        return {name: round((totals[name] - before[name]) / (now - then), 1) if now > then else 0.0
                for name in totals}

    def metrics(self) -> str:
        look = self.look()
        figures = {
            ("jobs", "gauge", "Jobs by state; done ones ever."): {
                f'{{state="{state}"}}': count for state, count in look["states"].items()},
            ("submitted_total", "counter", "Jobs ever submitted."): {"": look["submitted"]},
            ("deliveries_total", "counter", "Deliveries of jobs."): {"": look["deliveries"]},
            ("requeued_total", "counter", "Leases that ended badly and led to another try."): {
                "": look["requeued"]},
            ("leases_ended_total", "counter", "Leases that ended since the broker started, and why."): {
                f'{{why="{why}"}}': count for why, count in look["ended"].items()},
            ("oldest_pending_seconds", "gauge", "Age of the oldest pending job; 0 if there is none."): {
                "": look["oldest_pending_s"] or 0},
            ("connections", "gauge", "Connections by what they do."): {
                f'{{state="{state}"}}': sum(worker["state"] == state for worker in look["workers"])
                for state in ("working", "up", "hung")},
        }
        return "".join(f"# HELP dsjq_{name} {text}\n# TYPE dsjq_{name} {kind}\n"
                       + "".join(f"dsjq_{name}{labels} {value}\n" for labels, value in values.items())
                       for (name, kind, text), values in figures.items())


def _job(job: Job, now: float) -> dict[str, Any]:
    payload = printable(job.payload[:4 * LISTED].decode("utf-8", "backslashreplace"), LISTED)
    return {"id": job.id, "state": job.state, "attempts": job.attempts, "priority": job.priority,
            "left_s": round(job.due - now, 1) if job.state in TIMED else None, "payload": payload}


class Web(ThreadingHTTPServer):
    """Listens from the moment it is made; `url` is where."""

    daemon_threads = True

    def __init__(self, watch: Watch, host: str, port: int, tls: Any = None, users: Any = None):
        """`tls` and `users` are those of the broker's door (security.py), if it has one."""
        super().__init__((host, port), Visit)
        self.watch, self.places, self.users = watch, threading.Semaphore(VISITORS_MAX), users
        self.url = "{}://{}:{}/".format("https" if tls else "http", *self.server_address[:2])
        if tls:  # the handshake comes with the first read, in the visit's own thread
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.serve_forever, name="web", daemon=True).start()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        if self.places.acquire(blocking=False):
            try:
                super().process_request_thread(request, client_address)
            finally:
                self.places.release()
        else:
            self.shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever hung up will not be told."""


def refusal(visit: "Visit") -> tuple[int, str] | None:
    """Why a request may not be answered, as status and text; None if it may."""
    try:
        name = urlsplit("//" + visit.headers.get("Host", "")).hostname or ""
        if name != "localhost":
            ipaddress.ip_address(name)
    except ValueError:
        return 403, "ask for me by my address, or as localhost"
    if visit.server.users and visit.server.users.role(*_credentials(visit)) != "admin":
        return 401, "for admins"
    return None


def _credentials(visit: "Visit") -> tuple[str, str]:
    """User and secret as HTTP has them (RFC 7617); empty if they are missing or garbled."""
    try:
        kind, _, encoded = visit.headers.get("Authorization", "").partition(" ")
        user, colon, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        return "", ""
    return (user, secret) if kind == "Basic" and colon else ("", "")


class Visit(BaseHTTPRequestHandler):
    server: Web
    timeout = PATIENCE_S
    server_version, sys_version = "dsjq", ""

    def do_GET(self) -> None:
        path, watch = urlsplit(self.path).path, self.server.watch
        if refused := refusal(self):
            self._answer("text/plain", refused[1].encode(), refused[0])
        elif path == "/":
            self._answer("text/html; charset=utf-8", PAGE)
        elif path == "/state":
            self._answer("application/json", json.dumps(watch.look()).encode())
        elif path == "/metrics":
            self._answer("text/plain; version=0.0.4", watch.metrics().encode())
        elif path == "/events":
            self._head(200, "text/event-stream")
            while True:
                self.wfile.write(b"data: " + json.dumps(watch.look()).encode() + b"\n\n")
                time.sleep(PERIOD_S)
        else:
            self._answer("text/plain", b"there are /, /state, /events and /metrics", 404)

    def _answer(self, kind: str, body: bytes, status: int = 200) -> None:
        self._head(status, kind, {"Content-Length": str(len(body))})
        self.wfile.write(body)

    def _head(self, status: int, kind: str, more: dict[str, str] | None = None) -> None:
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="dsjq", charset="UTF-8"')
        for name, value in {"Content-Type": kind, **HEADERS, **(more or {})}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Not on the broker's stderr."""
