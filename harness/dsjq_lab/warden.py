"""Whoever may be killed cannot promise to clean up, so the promise is kept by somebody else.

The warden is a small process beside the lab that starts every child of the lab and outlives the lab by a
moment. The lab holds one end of a socket. When that end closes, in an orderly way or because the lab was
killed, the kernel tells the warden, and the warden ends everything it ever started:

    lab --- control: a line of JSON, answered by a line --> warden --- fork, exec --> children
        <-- bell: a byte when a child has ended -----------

The bell carries no news, only the reason to ask for them: so the warden never waits for a lab that is busy,
and the lab's event loop has something to select on.

Three rules of the kernel carry this:

- PR_SET_CHILD_SUBREAPER: a process whose parent ended becomes a child of the warden rather than of init. So
  killing all children, then all that thereby became children, and so on until waitpid(2) answers ECHILD,
  leaves nobody, however often they forked or called setsid(2).
- PR_SET_PDEATHSIG: should the warden itself be killed, its direct children get SIGKILL. It fires when the
  *thread* that forked ends, hence the warden has one thread.
- A process id stays taken until its parent reaps it. Only the warden reaps, and only the warden signals, so
  no signal can hit a stranger that was given the id of a dead child.

Where these calls do not exist (macOS), direct children are still ended and grandchildren are not.

The warden also bounds the logs. A child writes straight to its file, in append mode: so the file can be cut
short under its hands, and what it writes next follows the cut.

Started as `python -I -S warden.py CONTROL BELL`, the numbers of two inherited sockets. Standard library only,
and no import of the lab: it must start fast.
"""

import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

LOG_BYTES_MAX, LOG_BYTES_KEPT = 8 << 20, 64 << 10
LOG_INTERVAL_S = 0.1
LOG_CUT = b"\n[the lab cut this log here, since it had grown beyond %d MiB]\n" % (LOG_BYTES_MAX >> 20)
CHANNEL = "DSJQ_LAB_CHANNEL"  # environment variable: the number of the child's file descriptor to the lab

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # <linux/prctl.h>
WARDEN_PID = os.getpid()
libc = ctypes.CDLL(None)


def prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        libc.prctl(option, value, 0, 0, 0)


def die_with_warden() -> None:
    """Runs in the child, between fork and exec."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != WARDEN_PID:  # it died before the line above
        os._exit(1)


class Warden:
    def __init__(self, control: socket.socket, bell: socket.socket) -> None:
        self.control = control
        self.bell = bell
        self.wake, self.on_signal = socket.socketpair()  # Python writes a byte for each signal
        for end in (self.bell, self.on_signal):
            end.setblocking(False)
        # The lab names children by numbers that it never uses twice, unlike the kernel its process ids.
        self.children: dict[int, subprocess.Popen[bytes]] = {}
        self.logs: set[str] = set()
        self.exits: list[tuple[int, int]] = []  # since the lab last asked: number, status

    def serve(self) -> None:
        """Until the lab has gone: EOFError or ConnectionError."""
        signal.set_wakeup_fd(self.on_signal.fileno(), warn_on_full_buffer=False)
        for signum in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # Not SIG_IGN, which children would inherit: exec resets a handler to the default.
            signal.signal(signum, lambda *_: None)
        while True:
            ready, _, _ = select.select([self.wake, self.control], [], [], LOG_INTERVAL_S)
            self.bound_logs()
            if self.wake in ready:
                self.wake.recv(4096)
                self.reap()
            if self.control in ready:
                self.answer()

    def answer(self) -> None:
        (verb, arguments), channels = self.receive_request()
        answer: dict[str, Any]
        try:
            match verb:
                case "spawn":
                    answer = {"pid": self.spawn(channels, **arguments)}
                case "signal":
                    answer = {"sent": self.signal(**arguments)}
                case "exits":
                    answer = {"exits": self.exits}
                    self.exits = []
        except OSError as error:
            answer = {"error": str(error)}
        finally:
            for channel in channels:  # a copy left open here would hide the child's end from the lab
                os.close(channel)
        self.control.sendall(json.dumps(answer).encode() + b"\n")

    def receive_request(self) -> tuple[tuple[str, dict[str, Any]], list[int]]:
        line, channels = b"", []
        while not line.endswith(b"\n"):
            data, fds, _, _ = socket.recv_fds(self.control, 65536, 1)
            if not data:
                raise EOFError
            line += data
            channels += fds
        return json.loads(line), channels

    def spawn(
        self,
        channels: list[int],
        number: int,
        argv: list[str],
        env: dict[str, str],
        cwd: str | None,
        log: str,
    ) -> int:
        """Returns after exec, so from then on the child reacts to signals as itself."""
        for channel in channels:
            env[CHANNEL] = str(channel)
        self.logs.add(log)
        with open(log, "ab") as output:
            child = subprocess.Popen(
                argv, env=os.environ | env, cwd=cwd, pass_fds=channels, start_new_session=True,
                preexec_fn=die_with_warden, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        self.children[number] = child
        return child.pid

    def signal(self, number: int, signum: int) -> bool:
        """False: the child has ended."""
        if number in self.children:
            os.kill(self.children[number].pid, signum)
        return number in self.children

    def bound_logs(self) -> None:
        for log in self.logs:
            with suppress(OSError):  # a log that somebody removed, or a full disk, is no reason to end
                if os.path.getsize(log) > LOG_BYTES_MAX:
                    os.truncate(log, LOG_BYTES_KEPT)
                    with open(log, "ab") as output:
                        output.write(LOG_CUT)

    def reap(self) -> None:
        """Buries all that ended, also the re-parented, and reports the lab's own."""
        numbers = {child.pid: number for number, child in self.children.items()}
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in numbers:
                child = self.children.pop(numbers[pid])
                child.returncode = os.waitstatus_to_exitcode(status)  # else Popen would wait for it again
                self.exits.append((numbers[pid], child.returncode))
                with suppress(BlockingIOError):  # full of unheard rings: one more would add nothing
                    self.bell.send(b"!")

    def end_everybody(self) -> None:
        """SIGKILL ends a stopped process too. Each round reaches one generation deeper."""
        while True:
            for pid in self.pids():
                os.kill(pid, signal.SIGKILL)
            try:
                while os.waitpid(-1, os.WNOHANG) != (0, 0):
                    pass
            except ChildProcessError:
                return
            time.sleep(0.001)

    def pids(self) -> list[int]:
        try:
            with open("/proc/thread-self/children") as pids:
                return [int(pid) for pid in pids.read().split()]
        except FileNotFoundError:
            return [child.pid for child in self.children.values()]


def main(control: int, bell: int) -> None:
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    for fd in (control, bell):
        os.set_inheritable(fd, False)
    warden = Warden(socket.socket(fileno=control), socket.socket(fileno=bell))
    try:
        warden.serve()
    except (EOFError, ConnectionError):
        pass  # the lab has gone
    finally:
        warden.end_everybody()
        warden.bound_logs()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
