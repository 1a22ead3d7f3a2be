"""Cut what is on the disk wherever a crash might have, recover, and compare with what clients had been told.

The comparison is with a model that knows the commands and the replies alone.
"""
import argparse
import contextlib
import random
import tempfile
import time
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from dsjq import messages as m
from dsjq.broker import Broker
from dsjq.extensions.journal import Journal, Scan
from dsjq.extensions.sqlite import SQLite

MAX_ATTEMPTS = 3
ROOM = 4096  # bytes
Jobs = dict[int, tuple[str, int, bytes]]  # id -> state, attempts, payload


class Told:
    """What clients know of each job."""

    def __init__(self) -> None:
        self.jobs: dict[int, dict[str, Any]] = {}

    def hear(self, holder: int, command: m.Command, reply: m.Reply) -> None:
        if isinstance(reply, m.JobId):
            self.jobs[reply.job] = {"state": "PENDING", "attempts": 0, "payload": command.payload,
                                    "limit": MAX_ATTEMPTS, "holder": 0}
        elif isinstance(reply, m.Reserved):
            self.jobs[reply.job].update(state="IN_FLIGHT", attempts=reply.attempt, holder=holder)
        elif isinstance(command, m.Ack) and reply == m.Ok():
            self.jobs[command.job].update(state="DONE", payload=b"")
        elif isinstance(command, m.Fail) and reply == m.Ok():
            self.jobs[command.job]["state"] = self.bad_end(self.jobs[command.job])
        elif isinstance(command, m.Release) and reply == m.Ok():
            job = self.jobs[command.job]
            job.update(state="PENDING", limit=job["limit"] + 1)
        elif isinstance(command, m.Kick) and reply == m.Ok():
            job = self.jobs[command.job]
            job.update(state="PENDING", limit=job["attempts"] + MAX_ATTEMPTS)
        elif isinstance(command, m.Disconnect):
            for job in self.jobs.values():
                if job["state"] == "IN_FLIGHT" and job["holder"] == holder:
                    job["state"] = self.bad_end(job)

    def bad_end(self, job: dict[str, Any]) -> str:
        return "DEAD" if job["attempts"] >= job["limit"] else "PENDING"

    def after_restart(self) -> Jobs:
        """A restart ends all leases."""
        return {id: (self.bad_end(job) if job["state"] == "IN_FLIGHT" else job["state"], job["attempts"],
                     job["payload"]) for id, job in self.jobs.items()}


class Moment(NamedTuple):
    size: int  # bytes on the disk
    jobs: Jobs  # to be found there after a restart


def live(broker: Broker, seed: int, commands: int, size: Any) -> Iterator[Moment]:
    """Three connections do whatever comes to mind."""
    dice, told = random.Random(seed), Told()
    sessions = [broker.connect() for _ in range(3)]
    yield Moment(size(), {})
    for n in range(commands):
        who = dice.randrange(3)
        session = sessions[who]
        ids = sorted(broker.queue.held.get(session.id, ())) or [dice.randint(1, broker.queue.submitted + 1)]
        settle = [kind(dice.choice(ids)) for kind in (m.Ack, m.Ack, m.Fail, m.Fail, m.Touch, m.Release)]
        command = dice.choice([*4 * [m.Submit(b"job %d" % n)], *6 * [m.Reserve()], *settle, m.Disconnect(),
                               m.Kick(dice.randint(1, broker.queue.submitted + 1))])
        if isinstance(command, m.Disconnect):
            broker.disconnect(session)
            sessions[who] = broker.connect()
            reply: m.Reply = m.Ok()
        else:
            reply = broker.execute(command, session)
        told.hear(session.id, command, reply)
        yield Moment(size(), told.after_restart())


def found(broker: Broker) -> Jobs:
    jobs = {**broker.queue.jobs, **broker.queue.finished}
    return {id: ("PENDING" if job.state == "FAILED" else str(job.state), job.attempts, job.payload)
            for id, job in jobs.items()}


def check(kind: Any, folder: Path, moments: list[Moment], size: int) -> None:
    """Recover from a folder that was cut at `size` bytes."""
    expected = moments[bisect_right(moments, size, key=lambda moment: moment.size) - 1].jobs
    with contextlib.closing(kind(folder)) as store:
        actual = found(Broker(max_attempts=MAX_ATTEMPTS, store=store))
        assert actual == expected, f"cut at byte {size}: {actual} is not {expected}"


def journal(seed: int, commands: int, last: int, scratch: Path) -> tuple[int, int]:
    """Cut at every boundary, and at every byte of the `last` entries; how many of each."""
    with contextlib.closing(Journal(scratch / "live")) as store:
        broker = Broker(max_attempts=MAX_ATTEMPTS, store=store)
        moments = list(live(broker, seed, commands, lambda: store.tail.end))
        data = (scratch / "live" / "journal").read_bytes()
    scan = Scan(scratch / "live" / "journal")
    boundaries = [scan.end, *(scan.end for _ in scan.entries())]
    inside = set(range(boundaries[-last - 1] if last else boundaries[-1], boundaries[-1])) - set(boundaries)
    (scratch / "cut").mkdir()
    for size in sorted(inside.union(boundaries)):
        room = bytes(ROOM if size % 2 else 0)  # the zeros after it may be there or not
        (scratch / "cut" / "journal").write_bytes(data[:size] + room)
        check(Journal, scratch / "cut", moments, size)
    return len(boundaries), len(inside)


def sqlite(seed: int, commands: int, step: int, scratch: Path) -> tuple[int, int]:
    """Cut SQLite's own log after every commit, and every `step` bytes."""
    path, wal = scratch / "live" / "jobs.sqlite", scratch / "live" / "jobs.sqlite-wal"
    with contextlib.closing(SQLite(scratch / "live")) as store:
        broker = Broker(max_attempts=MAX_ATTEMPTS, store=store)
        moments = list(live(broker, seed, commands, lambda: wal.stat().st_size))
        base, data = path.read_bytes(), wal.read_bytes()
    commits = sorted({moment.size for moment in moments})
    inside = set(range(commits[0], commits[-1], step)) - set(commits)
    (scratch / "cut").mkdir()
    for size in sorted(inside.union(commits)):
        (scratch / "cut" / "jobs.sqlite").write_bytes(base)
        (scratch / "cut" / "jobs.sqlite-wal").write_bytes(data[:size])
        (scratch / "cut" / "jobs.sqlite-shm").unlink(missing_ok=True)
        check(SQLite, scratch / "cut", moments, size)
    return len(commits), len(inside)


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench sweep", description=__doc__)
    parser.add_argument("--boundaries", type=int, default=5000)
    parser.add_argument("--last", type=int, default=50, help="entries that are cut at every byte")
    options = parser.parse_args(argv)
    kinds = {"journal": lambda seed, scratch: journal(seed, 150, 0 if seed else options.last, scratch),
             "sqlite": lambda seed, scratch: sqlite(seed, 150, 4099, scratch)}
    for name, once in kinds.items():
        boundaries, inside, seed, start = 0, 0, 0, time.monotonic()
        while boundaries < (options.boundaries if name == "journal" else options.boundaries // 10):
            with in_memory() as scratch:
                counts = once(seed, scratch)
            boundaries, inside, seed = boundaries + counts[0], inside + counts[1], seed + 1
        print(f"{name}: {seed} workloads cut at {boundaries} boundaries and {inside} places between them, "
              f"all recovered as told, {time.monotonic() - start:.1f} s")


@contextlib.contextmanager
def in_memory() -> Iterator[Path]:
    """A folder in memory, where there is one: the sweep is about what is read, not about what is synced."""
    shm = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shm if shm.exists() else None) as folder:
        yield Path(folder)
