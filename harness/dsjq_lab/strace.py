"""From outside, between any program and its disk: strace(1) holds the program at its system calls.

The shim (shim.py) knows the disk of a Python program that works with `os`. For one that writes in C, or is in
another language, strace is attached to the running process when the fault begins: it fails a fsync, delays
it, or kills. Its log is the evidence that it did, and it lets go as soon as that is over.

This is less than what the shim does. A fsync that is failed so was not carried out, but what it was for stays
in the kernel's hands, so only what the broker says then can be judged. And strace counts in each thread.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from dsjq_lab.orders import Order
from dsjq_lab.processes import Process, Processes, wait_until

NAME = "strace"  # of its process
CALLS = {"fsync": "fsync,fdatasync", "rename": "?rename,?renameat,?renameat2"}  # ?: if there is such a call
CURE = (
    "apt-get install strace; in a container, allow ptrace (--cap-add SYS_PTRACE); "
    "elsewhere, sysctl kernel.yama.ptrace_scope=0"
)
YAMA = Path("/proc/sys/kernel/yama/ptrace_scope")
TIMEOUT_S = 5
CALL = re.compile(r"(?P<at_s>\d+\.\d+) (?P<what>.*) <(?P<took_s>\d+\.\d+)>")  # it has returned


class Strace:
    """Carries out one order on the process `pid`; of fsyncs only on those of `file`, if one is given.

    The process stands still meanwhile, so that none of its syncs is missed.
    """

    def __init__(self, processes: Processes, pid: int, order: Order, file: Path | None) -> None:
        self.processes, self.goes_on = processes, order.do == "delay"
        self.good_ns = time.monotonic_ns()  # when the last good sync had returned
        delay_us = round(order.seconds * 1e6)
        deed = {"fail": "error=EIO", "die": "signal=KILL", "delay": f"delay_exit={delay_us}"}[order.do]
        calls, when = CALLS[order.on], f"{order.nth}{'+' * self.goes_on}"
        told = [f"trace={calls}", f"inject={calls}:{deed}:when={when}", "signal=none"]
        command = ["strace", "-f", "-y", "-ttt", "-T", *(word for tell in told for word in ("-e", tell))]
        where = ["-P", str(file)] if file else []
        self.process: Process = processes.spawn(NAME, [*command, *where, "-p", str(pid)])
        self.read_to = self.process.log_start
        self.is_attached = wait_until(self.has_begun, TIMEOUT_S) and not processes.has_ended(self.process)

    def has_begun(self) -> bool:
        with self.process.log.open("rb") as log:
            log.seek(self.process.log_start)
            return b" attached" in log.read() or self.processes.has_ended(self.process)

    def bites(self) -> Iterator[dict[str, Any]]:
        """What it has done since the last look, in its own words."""
        for line in self.new_lines():
            if not (call := CALL.search(line)):
                continue
            if "(INJECTED)" in line:
                failed_ns = on_our_clock(call["at_s"])
                yield {"covers_from_ns": self.good_ns, "failed_ns": failed_ns, "strace": call["what"]}
            elif "(DELAYED)" in line:
                yield {"strace": call["what"]}
            elif call["what"].endswith(" = 0"):
                self.good_ns = max(self.good_ns, on_our_clock(call["at_s"], call["took_s"]))

    def new_lines(self) -> list[str]:
        with self.process.log.open("rb") as log:
            log.seek(self.read_to)
            whole, newline, _ = log.read().rpartition(b"\n")
        self.read_to += len(whole) + len(newline)
        return whole.decode(errors="replace").splitlines()

    def let_go(self) -> None:
        """Not by SIGTERM: to detach from a process that is just ending, strace would wait for ever."""
        with suppress(ProcessLookupError):
            self.processes.signal(self.process, signal.SIGKILL)
        self.processes.wait_exit(self.process, TIMEOUT_S)


def on_our_clock(at_s: str, took_s: str = "0") -> int:
    """It tells the time of day, in microseconds."""
    return round((float(at_s) + float(took_s)) * 1e9) - time.time_ns() + time.monotonic_ns()


def refusal() -> str:
    """Why no process can be traced here; empty if it can. It may be installed, and still be forbidden."""
    strace = shutil.which("strace")
    if not strace:
        return "strace is not on PATH"
    if os.geteuid() != 0 and YAMA.exists() and YAMA.read_text().strip() != "0":
        return f"strace may trace its own children alone ({YAMA})"
    command = [strace, "-e", "trace=none", "true"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as problem:
        return str(problem)
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["strace failed"])[-1]
