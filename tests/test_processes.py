"""The lab's children: what is reported about them, and that none of them survives."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from dsjq_lab.errors import LabError
from dsjq_lab.ports import PortLease, ephemeral_start, try_lock
from dsjq_lab.processes import NotReady, Process, Processes, wait_until

PATIENCE_S = 20.0  # for what must happen, on however busy a machine
SLEEP = ["sleep", "1000"]
LISTEN = """
import signal, socket, sys
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
signal.pause()
"""
LISTEN_IN_CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]])"

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs the subreaper and PR_SET_PDEATHSIG")


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path / "logs") as processes:
        yield processes


@pytest.fixture
def port() -> Iterator[int]:
    with PortLease() as lease:
        yield lease.port


def python(code: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", code, *map(str, arguments)]


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def all_gone(victims: list[psutil.Process]) -> bool:
    return not any(is_alive(victim) for victim in victims)


def read_when_written(path: Path) -> str:
    assert wait_until(lambda: path.exists() and path.read_text().endswith("\n"), PATIENCE_S)
    return path.read_text()


def receive_all(processes: Processes, count: int) -> list[Process]:
    ended: list[Process] = []
    while len(ended) < count:
        ended += processes.receive()
    return ended


# What is reported


def test_exit_status_is_reported_once_and_output_is_logged(processes: Processes) -> None:
    child = processes.spawn("worker 1", ["sh", "-c", "echo out; echo err >&2; exit 7"])
    assert receive_all(processes, 1) == [child]
    assert child.exit_status == 7
    assert child.log.name == "worker-1.log"
    assert child.log.read_text() == "out\nerr\n"


def test_a_signal_is_reported_as_its_negative_number(processes: Processes) -> None:
    child = processes.spawn("child", SLEEP)
    processes.signal(child, signal.SIGKILL)
    assert processes.wait_exit(child, PATIENCE_S)
    assert child.exit_status == -9


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE])
def test_a_signal_right_after_spawn_is_not_lost(processes: Processes, signum: int) -> None:
    child = processes.spawn("child", SLEEP)
    processes.signal(child, signum)
    assert processes.wait_exit(child, PATIENCE_S)
    assert child.exit_status == -signum


def test_waiting_for_one_exit_hides_no_other(processes: Processes) -> None:
    children = [processes.spawn(f"child {number}", ["true"]) for number in range(20)]
    assert processes.wait_exit(children[-1], PATIENCE_S)
    assert set(receive_all(processes, 20)) == set(children)


def test_exits_that_nobody_receives_block_nothing(processes: Processes) -> None:
    for _ in range(400):  # more than a socket's buffer has room for
        child = processes.spawn("child", ["true"])
    assert processes.wait_exit(child, PATIENCE_S)
    assert len(receive_all(processes, 400)) == 400


def test_an_ended_process_is_not_signalled(processes: Processes) -> None:
    child = processes.spawn("child", ["true"])
    assert processes.wait_exit(child, PATIENCE_S)
    with pytest.raises(ProcessLookupError, match="child"):
        processes.signal(child, signal.SIGKILL)


def test_a_command_that_does_not_exist_is_an_error_of_the_lab(processes: Processes) -> None:
    with pytest.raises(LabError, match=r"cannot start child.*no-such-command"):
        processes.spawn("child", ["no-such-command"])
    assert processes.spawn("child", SLEEP).exit_status is None


def test_environment_and_folder(processes: Processes, tmp_path: Path) -> None:
    child = processes.spawn(
        "child", ["sh", "-c", "echo $COLOUR in $PWD"], env={"COLOUR": "red"}, cwd=tmp_path
    )
    assert processes.wait_exit(child, PATIENCE_S)
    assert child.log.read_text() == f"red in {tmp_path}\n"


def test_the_channel_reaches_the_child_and_ends_with_it(processes: Processes) -> None:
    ours, theirs = socket.socketpair()
    echo = """
import os, socket
channel = socket.socket(fileno=int(os.environ["DSJQ_LAB_CHANNEL"]))
channel.sendall(channel.recv(100).upper())
"""
    with ours:
        ours.settimeout(PATIENCE_S)
        processes.spawn("child", python(echo), channel=theirs)
        ours.sendall(b"hello")
        assert ours.recv(100) == b"HELLO"
        assert ours.recv(100) == b""


@linux_only
def test_pause_stops_every_thread_until_continued(processes: Processes, tmp_path: Path) -> None:
    threads = """
import threading, time
for _ in range(3):
    threading.Thread(target=time.sleep, args=(1000,)).start()
print("up", flush=True)
"""
    child = processes.spawn("child", python(threads))
    read_when_written(child.log)
    assert not processes.is_stopped(child)
    processes.signal(child, signal.SIGSTOP)
    assert processes.wait_stopped(child, PATIENCE_S)
    processes.signal(child, signal.SIGCONT)
    assert wait_until(lambda: not processes.is_stopped(child), PATIENCE_S)


# Readiness


def test_ready_when_it_listens(processes: Processes, port: int) -> None:
    processes.wait_ready(processes.spawn("broker", python(LISTEN, port)), port, PATIENCE_S)


def test_ready_when_its_child_listens(processes: Processes, port: int) -> None:
    broker = processes.spawn("broker", python(LISTEN_IN_CHILD, LISTEN, port))
    processes.wait_ready(broker, port, PATIENCE_S)


def test_who_listens_may_have_more_to_do_before_it_is_ready(processes: Processes, port: int) -> None:
    broker = processes.spawn("broker", python(LISTEN, port))
    processes.wait_ready(broker, port, PATIENCE_S)
    told = str(processes.not_ready(broker, port, 0.05))
    assert f"listens on port {port}, but was not ready within 0.05 s" in told


def test_the_listener_of_a_stranger_does_not_count(processes: Processes, port: int) -> None:
    broker = processes.spawn("broker", SLEEP)
    with socket.create_server(("127.0.0.1", port)), pytest.raises(NotReady) as failure:
        processes.wait_ready(broker, port, timeout_s=0.05)
    assert not failure.value.crashed
    assert f"runs, but did not listen on port {port} within 0.05 s" in str(failure.value)
    assert "it wrote nothing" in str(failure.value)


def test_a_crash_at_start_shows_status_and_last_words_of_this_run(processes: Processes, port: int) -> None:
    earlier = processes.spawn("broker", ["sh", "-c", "echo an earlier run"])
    assert processes.wait_exit(earlier, PATIENCE_S)
    broker = processes.spawn("broker", ["sh", "-c", "seq 3; echo boom; exit 3"])
    with pytest.raises(NotReady) as failure:
        processes.wait_ready(broker, port, PATIENCE_S)
    assert failure.value.crashed
    assert "crashed" in str(failure.value)
    assert "exit status 3" in str(failure.value)
    assert "boom" in str(failure.value)
    assert "earlier" not in str(failure.value)
    assert broker.log.read_text().startswith("an earlier run\n")


def test_a_kill_at_start_names_the_signal(processes: Processes, port: int) -> None:
    broker = processes.spawn("broker", ["sh", "-c", "kill -SEGV $$"])
    with pytest.raises(NotReady, match="killed by SIGSEGV"):
        processes.wait_ready(broker, port, PATIENCE_S)


# No orphan, ever

# The shell in brackets ends at once, which makes its child an orphan, in a session of its own.
DAEMONISE = "(setsid sh -c 'echo $$ > {pid_file}; exec sleep 1000' &); exec sleep 1000"
LAB = """
import signal, sys
from pathlib import Path
from dsjq_lab.processes import Processes

folder = Path(sys.argv[1])
processes = Processes(folder / "logs")
parent = processes.spawn("parent", ["sh", "-c", sys.argv[2]])
stopped = processes.spawn("stopped", ["sleep", "1000"])
processes.signal(stopped, signal.SIGSTOP)
assert processes.wait_stopped(stopped, 20)
print(parent.pid, stopped.pid, flush=True)
signal.pause()
"""


@linux_only
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_nothing_outlives_the_lab(tmp_path: Path, signum: int) -> None:
    pid_file = tmp_path / "grandchild.pid"
    command = python(LAB, tmp_path, DAEMONISE.format(pid_file=pid_file))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as lab:
        assert lab.stdout is not None
        pids = [*lab.stdout.readline().split(), read_when_written(pid_file)]
        victims = [psutil.Process(int(pid)) for pid in pids] + psutil.Process(lab.pid).children()
        assert len(victims) == 4  # the warden is one of them
        assert all(is_alive(victim) for victim in victims)
        lab.send_signal(signum)
        assert wait_until(lambda: all_gone(victims), timeout_s=2)  # law 4 of the lab: two seconds


@linux_only
def test_close_ends_daemons_too_and_may_be_repeated(tmp_path: Path) -> None:
    pid_file = tmp_path / "grandchild.pid"
    with Processes(tmp_path / "logs") as processes:
        child = processes.spawn("child", ["sh", "-c", DAEMONISE.format(pid_file=pid_file)])
        victims = [psutil.Process(child.pid), psutil.Process(int(read_when_written(pid_file)))]
        processes.close()
        assert all_gone(victims)


def test_an_exception_in_the_lab_ends_its_children(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Processes(tmp_path / "logs") as processes:
        child = psutil.Process(processes.spawn("child", SLEEP).pid)
        _ = 1 / 0
    assert not is_alive(child)


@linux_only
def test_a_killed_warden_takes_its_children_along_and_is_an_error_of_the_lab(processes: Processes) -> None:
    children = [processes.spawn("child", SLEEP), processes.spawn("stopped", SLEEP)]
    processes.signal(children[1], signal.SIGSTOP)
    victims = [psutil.Process(child.pid) for child in children]
    warden = victims[0].parent()
    assert warden is not None
    warden.kill()
    assert wait_until(lambda: all_gone(victims), PATIENCE_S)
    with pytest.raises(LabError, match="warden"):
        processes.receive()
    with pytest.raises(LabError, match="warden"):
        processes.spawn("child", SLEEP)


@linux_only
def test_the_warden_ignores_polite_signals(processes: Processes) -> None:
    child = processes.spawn("child", SLEEP)
    warden = psutil.Process(child.pid).parent()
    assert warden is not None
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        warden.send_signal(signum)
    processes.signal(child, signal.SIGKILL)
    assert processes.wait_exit(child, PATIENCE_S)


@linux_only
def test_orphans_are_reaped_while_the_lab_runs(processes: Processes, tmp_path: Path) -> None:
    pid_file = tmp_path / "orphan.pid"
    processes.spawn("child", ["sh", "-c", f"(sh -c 'echo $$ > {pid_file}' &); exec sleep 1000"])
    pid = int(read_when_written(pid_file))
    assert wait_until(lambda: not psutil.pid_exists(pid), PATIENCE_S)


# Ports


def test_two_leases_differ_and_lie_below_the_ephemeral_range() -> None:
    with PortLease() as one, PortLease() as other:
        assert one.port != other.port
        assert max(one.port, other.port) < ephemeral_start()


def is_locked(folder: Path, port: int) -> bool:
    (lock,) = folder.glob(f"*/{port}")
    with lock.open() as file:
        return not try_lock(file.fileno())


def test_close_frees_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # a folder of locks that no other lab uses
    with PortLease() as lease:
        assert is_locked(tmp_path, lease.port)
    assert not is_locked(tmp_path, lease.port)


def test_death_frees_the_lock_even_if_children_live_on(tmp_path: Path) -> None:
    holder = """
import subprocess
from dsjq_lab.ports import PortLease
lease = PortLease()
child = subprocess.Popen(["sleep", "1000"], close_fds=False)
print(lease.port, child.pid, flush=True)
child.wait()
"""
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(python(holder), stdout=subprocess.PIPE, text=True, env=environment) as lab:
        assert lab.stdout is not None
        port, child = map(int, lab.stdout.readline().split())
        assert is_locked(tmp_path, port)
        lab.kill()
        lab.wait()
        assert not is_locked(tmp_path, port)
        os.kill(child, signal.SIGKILL)
