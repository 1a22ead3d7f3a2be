"""`dsjq top`: ask STATS and JOBS again and again, and show what has changed between two answers.

A client like any other, so it learns no more than what the protocol tells: how fast jobs come and go, and
how long a worker has held a job, are what it saw itself.
"""
import itertools
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from ..client import Connection
from ..messages import Jobs, Report, Stats
from .plain import printable

NUMBERS = ("submitted", "pending", "in_flight", "delayed", "failed", "dead", "done", "deliveries", "requeued")
RATES = {"submitted": "submitted/s", "deliveries": "delivered/s", "done": "done/s"}
JOBS_SHOWN = 15
SCREEN, BACK = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"  # a screen of its own, without a cursor
HOME, LINE_ENDS, REST = "\x1b[H", "\x1b[K\n", "\x1b[J"
BOLD, PLAIN = "\x1b[1m", "\x1b[0m"

Look = dict[str, Any]


def looks(connection: Connection, clock: Callable[[], float] = time.monotonic) -> Iterator[Look]:
    """One answer after the other, each with what only the comparison with those before tells.

    `rates` are per second since the look before; `held_s` is for how long a job was seen with its worker.
    """
    before: Look = {}
    then = clock()
    since: dict[tuple[str, int], float] = {}  # (worker, job) -> when first seen together
    while True:
        now, stats = clock(), _ask(connection, Stats())
        leases = [(worker["name"], id) for worker in stats["workers"] for id in worker["jobs"]]
        since = {lease: since.get(lease, now) for lease in leases}
        for worker in stats["workers"]:
            worker["jobs"] = [{"id": id, "held_s": round(now - since[worker["name"], id], 1)}
                              for id in worker["jobs"]]
        passed_s = max(now - then, 0.001)
        rates = {label: round((stats[name] - before.get(name, stats[name])) / passed_s, 1)
                 for name, label in RATES.items()}
        yield {**stats, "rates": rates, "jobs": _ask(connection, Jobs(limit=JOBS_SHOWN))}
        before, then = stats, now


def _ask(connection: Connection, command: Stats | Jobs) -> Any:
    reply = connection.call(command)
    assert isinstance(reply, Report), reply
    return reply.data


def lines(look: Look, before: Look | None = None, bold: bool = False) -> Iterator[str]:
    """What changed since the look before is bold."""
    for row in itertools.zip_longest(*[iter(NUMBERS)] * 3):
        cells = (f"{name.replace('_', ' '):>12} {look[name]:<9}" for name in row)
        yield "".join(f"{BOLD}{cell}{PLAIN}" if bold and before and before[name] != look[name] else cell
                      for name, cell in zip(row, cells, strict=True))
    yield "".join(f"{label:>12} {rate:<9}" for label, rate in look["rates"].items())
    yield f"{'worker':24}holds"
    for worker in sorted(look["workers"], key=lambda worker: (not worker["jobs"], worker["name"])):
        jobs = ", ".join(f"{job['id']} for {job['held_s']} s" for job in worker["jobs"])
        yield f"{printable(worker['name'], 22):24}{jobs or '-'}"
    yield ""
    yield f"{'job':>9}  {'state':9}  attempts  payload"
    for job in look["jobs"]:
        yield f"{job['id']:>9}  {job['state']:9}  {job['attempts']:>8}  {printable(job['payload'])}"


def show(connection: Connection, out: TextIO, once: bool, as_json: bool, interval_s: float) -> None:
    """On a terminal until interrupted; elsewhere, or if asked so, once. JSON is one object a line."""
    live = out.isatty() and not as_json
    once = once or not (live or as_json)
    seen = looks(connection)
    if once or as_json:
        for look in seen:
            print(json.dumps(look) if as_json else "\n".join(lines(look)), file=out, flush=True)
            if once:
                return
            time.sleep(interval_s)
    before = None
    try:
        out.write(SCREEN)
        for look in seen:
            width, height = shutil.get_terminal_size()
            bold = "NO_COLOR" not in os.environ
            page = [line if "\x1b" in line else line[:width] for line in lines(look, before, bold)]
            out.write(HOME + "".join(line + LINE_ENDS for line in page[:height - 1]) + REST)
            out.flush()
            before = look
            time.sleep(interval_s)
    finally:
        out.write(BACK)
        out.flush()
