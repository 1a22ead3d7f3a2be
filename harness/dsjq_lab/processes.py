"""Every process of an experiment is started, watched and ended in one place, and none survives the lab.

`Processes` is the lab's side; the work is done by the warden (warden.py explains why there must be one). A
signal takes effect some time after it was sent, so a fault is only a fact once it was observed:

    processes.signal(worker, SIGSTOP)
    if not processes.wait_stopped(worker, timeout_s=1): ...   # the fault did not bite

Nothing here sleeps for long enough; all waiting is on a condition with a deadline.
"""

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

import psutil

from dsjq_lab import warden
from dsjq_lab.errors import LabError
from dsjq_lab.ports import can_bind

POLL_INTERVAL_S = 0.002
CLOSE_TIMEOUT_S = 20  # of a machine with a hundred others at work
FORKING_S = 0.2  # who went into the background is overlooked while one process hands over to the next
LOG_LINES_SHOWN, LOG_BYTES_SHOWN = 5, 2000
LOCAL = {"127.0.0.1", "0.0.0.0", "::"}  # where a server must listen for its clients to reach it


@dataclass(eq=False)
class Process:
    """One run of a child; a restart under the same name is another Process that appends to the same log."""

    number: int
    name: str
    pid: int
    log: Path
    log_start: int  # where this run begins in the log, in bytes
    exit_status: int | None = None  # None: not known to have ended; negative: the signal that ended it

    def last_words(self) -> str:
        with self.log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            start = self.log_start if self.log_start <= size else 0  # the warden has cut it short
            log.seek(max(start, size - LOG_BYTES_SHOWN))
            lines = log.read().decode(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
        return "\n".join(f"    {line}" for line in lines) or "    (it wrote nothing)"


class NotReady(LabError):
    """A server does not listen: it ended, or it runs and did not get there in time."""

    def __init__(self, process: Process, what: str) -> None:
        self.crashed = process.exit_status is not None
        super().__init__(f"{process.name} {what}\n  the end of {process.log}:\n{process.last_words()}")


def describe(exit_status: int | None) -> str:
    if exit_status is not None and exit_status < 0:
        return f"killed by {signal.Signals(-exit_status).name}"
    return f"exit status {exit_status}"


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Whether the condition came true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_INTERVAL_S)
    return True


class Processes:
    """The children of the lab. For one thread; every method raises LabError if the warden has died.

    An event loop selects on `processes` (it has a fileno) and then calls `receive`.
    """

    def __init__(self, logs: Path) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self._logs = logs.resolve()
        self._numbers = itertools.count(1)
        self._running: dict[int, Process] = {}
        self._ended: list[Process] = []  # not yet returned by receive
        self._control, control = socket.socketpair()
        self._bell, bell = socket.socketpair()
        with control, bell:
            fds = (control.fileno(), bell.fileno())
            self._warden = subprocess.Popen(
                [sys.executable, "-I", "-S", warden.__file__, *map(str, fds)],
                pass_fds=fds, start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            )  # fmt: skip
        self._answers = self._control.makefile("rb")

    def spawn(
        self,
        name: str,
        argv: list[str],
        *,
        env: dict[str, str] | None = None,
        channel: socket.socket | None = None,
        cwd: Path | None = None,
    ) -> Process:
        """Starts a child in its own session; returns when it runs `argv`, or raises LabError if it cannot.

        `env` is added to the environment that the lab started with. `channel` moves to the child, which finds
        its number in DSJQ_LAB_CHANNEL; the lab's copy is closed, so that the child's end gives EOF.
        """
        log = self._logs / f"{name.replace(' ', '-')}.log"
        log.touch()
        log_start = log.stat().st_size
        number = next(self._numbers)
        folder = str(cwd) if cwd else None
        with channel or nullcontext():
            answer = self._ask(
                "spawn", channel, number=number, argv=argv, env=env or {}, cwd=folder, log=str(log)
            )
        if "error" in answer:
            raise LabError(f"cannot start {name}: {answer['error']}")
        process = self._running[number] = Process(number, name, answer["pid"], log, log_start)
        return process

    def signal(self, process: Process, signum: int) -> None:
        """Signals the process itself, not its children. ProcessLookupError if it has ended."""
        answer = self._ask("signal", number=process.number, signum=signum)
        if "error" in answer:
            raise LabError(f"cannot signal {process.name}: {answer['error']}")
        if not answer["sent"]:
            raise ProcessLookupError(f"{process.name} (pid {process.pid}) has ended")

    def fileno(self) -> int:
        """Readable when a process has ended that `receive` has not returned."""
        return self._bell.fileno()

    def receive(self) -> list[Process]:
        """Waits for the bell; returns those that ended, each once; [] if a ring came late."""
        self._bell.recv(4096)
        self._note_exits()
        ended, self._ended = self._ended, []
        return ended

    def has_ended(self, process: Process) -> bool:
        """Leaves the bell alone, so that the event loop still hears of every exit."""
        if process.exit_status is None:
            self._note_exits()
        return process.exit_status is not None

    def is_stopped(self, process: Process) -> bool:
        """Whether all its threads are: SIGSTOP reaches them one by one, and any may answer a client."""
        if self.has_ended(process):
            return False
        try:
            main = psutil.Process(process.pid)
            tasks = [thread.id for thread in main.threads()] if psutil.LINUX else [main.pid]
            return all(psutil.Process(task).status() == psutil.STATUS_STOPPED for task in tasks)
        except psutil.NoSuchProcess:
            return False

    def wait_stopped(self, process: Process, timeout_s: float) -> bool:
        return wait_until(lambda: self.is_stopped(process), timeout_s)

    def wait_exit(self, process: Process, timeout_s: float) -> bool:
        return wait_until(lambda: self.has_ended(process), timeout_s)

    def listens(self, process: Process, port: int) -> bool:
        """Whether it or a descendant of it listens where clients on this machine can reach it.

        A stranger on the same port does not count.
        """
        if self.has_ended(process):
            return False
        return any((host, port) in listeners(process.pid) for host in LOCAL)

    def wait_ready(self, process: Process, port: int, timeout_s: float) -> None:
        """Returns once it listens; raises NotReady as soon as it has ended, or when the time is over."""
        in_time = wait_until(lambda: self.has_ended(process) or self.listens(process, port), timeout_s)
        if not in_time or self.has_ended(process):
            raise self.not_ready(process, port, timeout_s)

    def not_ready(self, process: Process, port: int, timeout_s: float) -> NotReady:
        """Why it does not listen, or why that was not enough."""
        if self.has_ended(process):
            return NotReady(process, self._why_it_ended(process, port))
        if self.listens(process, port):
            return NotReady(process, f"listens on port {port}, but was not ready within {timeout_s:g} s")
        elsewhere = ", ".join(f"{host}:{other}" for host, other in sorted(listeners(process.pid)))
        instead = f"; it listens on {elsewhere} instead" if elsewhere else ""
        return NotReady(process, f"runs, but did not listen on port {port} within {timeout_s:g} s{instead}")

    def _why_it_ended(self, process: Process, port: int) -> str:
        """What is known of a server that never listened, with the two mistakes that look like a mystery."""
        if process.exit_status == 0 and wait_until(self._left_behind, FORKING_S):
            return (
                "went into the background. The lab can only watch and kill what stays its child: "
                "a broker must run in the foreground, not fork away"
            )
        what = f"crashed before it listened on port {port}: {describe(process.exit_status)}"
        if kept_by_the_past(port):
            what += (
                "\n  The port is free, but the kernel remembers connections of a former life for a minute "
                "(TIME_WAIT).\n  A server that is to come back at once must set SO_REUSEADDR before it binds"
            )
        return what

    def _left_behind(self) -> bool:
        """Whether somebody runs who is no child of ours, nor of one."""
        strangers = {member.pid for member in family(self._warden.pid)[1:]}
        for running in self._running.values():
            strangers -= {member.pid for member in family(running.pid)}
        return bool(strangers)

    def resources(self, process: Process) -> dict[str, int]:
        """What it and its descendants use; empty if it has ended."""
        used = Counter[str]()
        for member in [] if self.has_ended(process) else family(process.pid):
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied), member.oneshot():
                used["threads"] += member.num_threads()
                used["descriptors"] += member.num_fds()
                used["resident_bytes"] += member.memory_info().rss
                used["cpu_ms"] += round(sum(member.cpu_times()[:2]) * 1000)
        return dict(used)

    def close(self) -> None:
        """Ends all children and their descendants, and returns when they are gone."""
        self._answers.close()
        self._control.close()
        self._bell.close()
        try:
            self._warden.wait(CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise LabError(f"the warden (pid {self._warden.pid}) could not end all children") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _note_exits(self) -> None:
        for number, status in self._ask("exits")["exits"]:
            process = self._running.pop(number)
            process.exit_status = status
            self._ended.append(process)

    def _ask(self, verb: str, channel: socket.socket | None = None, **arguments: Any) -> dict[str, Any]:
        request = json.dumps([verb, arguments]).encode() + b"\n"
        try:
            socket.send_fds(self._control, [request], [channel.fileno()] if channel else [])
            answer = self._answers.readline()
        except ConnectionError:
            answer = b""
        if not answer:
            raise LabError("the warden of the lab's processes has died")
        return cast(dict[str, Any], json.loads(answer))


def family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def kept_by_the_past(port: int) -> bool:
    """Whether the port cannot be bound, though nobody listens there: connections that have ended linger."""
    with suppress(psutil.AccessDenied):  # other systems show the connections of others to root alone
        tcp = psutil.net_connections("tcp")
        listening = {c.laddr.port for c in tcp if c.laddr and c.status == psutil.CONN_LISTEN}
        return port not in listening and not can_bind(port)
    return False


def listeners(pid: int) -> set[tuple[str, int]]:
    """Where the process and its descendants listen, as far as they are ours to look into."""
    found: set[tuple[str, int]] = set()
    for process in family(pid):
        newer = hasattr(process, "net_connections")  # since psutil 6
        connections = process.net_connections if newer else process.connections
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            tcp = connections("tcp")
            found |= {(c.laddr.ip, c.laddr.port) for c in tcp if c.status == psutil.CONN_LISTEN}
    return found
