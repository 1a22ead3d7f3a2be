"""The kernel of the explored world: who runs, what time it is, and what is left of a killed process."""
import errno
import signal
from pathlib import Path

import pytest

from dsjq_lab.sim.disk import Disk
from dsjq_lab.sim.exhaustive import exhaust
from dsjq_lab.sim.kernel import START_NS, Kernel
from dsjq_lab.sim.library import SimUnsupported
from dsjq_lab.sim.loader import Loader
from dsjq_lab.sim.net import Network
from dsjq_lab.sim.process import Process
from dsjq_lab.sim.program import run_program
from dsjq_lab.sim.schedule import Replay, Strategy, as_lists, from_lists
from dsjq_lab.sim.strategies import STRATEGIES
from dsjq_lab.sim.tasks import Endless, Stuck

MODELS = Path(__file__).parent / "models"


def program(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "program.py"
    path.write_text(text)
    return path


def play(tmp_path: Path, text: str, strategy: Strategy | None = None, **options):
    return run_program(program(tmp_path, text), strategy, **options)


def test_time_jumps_to_the_next_timer(tmp_path):
    run = play(tmp_path, """if True:
        import time
        start = time.monotonic()
        time.sleep(3600)
        print(3600 <= time.monotonic() - start < 3600.001)
    """)
    assert run.output == "True\n"
    assert 3600 <= (run.kernel.now_ns - START_NS) / 1e9 < 3601


def test_whoever_waits_in_a_loop_sees_time_pass(tmp_path):
    assert play(tmp_path, """if True:
        import time
        end = time.monotonic() + 0.01
        while time.monotonic() < end:
            pass
        print("over")
    """).output == "over\n"


def test_an_endless_loop_ends_in_a_verdict(tmp_path, monkeypatch):
    monkeypatch.setattr("dsjq_lab.sim.kernel.STEPS_MAX", 10_000)
    assert play(tmp_path, "while True:\n    pass\n").failures == ("endless",)


def test_a_flood_of_output_ends_in_a_verdict(tmp_path):
    assert play(tmp_path, "while True:\n    print('x' * 100_000)\n").failures == ("endless",)


def test_a_program_in_which_nobody_can_run_is_stuck(tmp_path):
    assert play(tmp_path, "import threading\nthreading.Event().wait()\n").failures == ("stuck",)


def test_a_thread_that_dies_is_noticed_and_its_last_words_are_kept(tmp_path):
    run = play(tmp_path, """if True:
        import threading
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
    """)
    assert run.failures == ("thread_died",)
    assert "ZeroDivisionError" in run.output


def test_a_killed_process_changes_nothing_any_more():
    kernel = Kernel(Strategy())
    kernel.network = Network()
    done = []

    def body() -> None:
        try:
            kernel.operation()
            done.append("begun")
            kernel.block("for ever", None)
        finally:
            kernel.operation()
            done.append("cleaned up")

    def story() -> None:
        process = Process(kernel, "victim", [], disk=Disk())
        process.begin(body)
        kernel.block("a while", kernel.now_ns + 1000)
        kernel.end(process, -9)
        assert process.status == -9

    kernel.run(story)
    assert done == ["begun"]


def test_one_that_catches_even_its_own_death_is_set_aside(tmp_path):
    run = play(tmp_path, """if True:
        import os, threading, time
        def stubborn():
            while True:
                try:
                    time.sleep(1)
                except BaseException:
                    pass
        threading.Thread(target=stubborn, daemon=True).start()
        time.sleep(3)
        os._exit(7)
    """)
    assert run.failures == ("exit status 7",)


def test_a_signal_that_is_blocked_waits_for_sigwait(tmp_path):
    run = play(tmp_path, """if True:
        import os, signal
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        os.kill(os.getpid(), signal.SIGTERM)
        print("alive")
        print(signal.Signals(signal.sigwait({signal.SIGTERM})).name)
    """)
    assert run.output == "alive\nSIGTERM\n"


def test_a_handler_runs_in_the_middle_of_a_wait_which_then_goes_on(tmp_path):
    run = play(tmp_path, """if True:
        import os, signal, threading, time
        signal.signal(signal.SIGTERM, lambda signum, frame: print("handled", signum))
        threading.Timer(1, os.kill, (os.getpid(), signal.SIGTERM)).start()
        start = time.monotonic()
        time.sleep(5)
        print(time.monotonic() - start >= 4)
    """)
    assert run.output.splitlines()[0] == f"handled {int(signal.SIGTERM)}"
    assert run.output.splitlines()[1] == "True"


def test_a_signal_without_a_handler_ends_the_process(tmp_path):
    run = play(tmp_path, "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\nprint('never')\n")
    assert (run.output, run.process.status) == ("", -15)


@pytest.mark.parametrize("use", ["import ssl\nssl.create_default_context()", "import os\nos.fork()",
                                 "from subprocess import run", "import asyncio\nasyncio.run(None)"])
def test_what_is_not_simulated_is_refused_by_name(tmp_path, use):
    with pytest.raises(SimUnsupported, match="is not simulated"):
        play(tmp_path, use)


def test_to_import_it_is_no_crime(tmp_path):
    assert play(tmp_path, "import ssl, subprocess, sqlite3\nprint('fine')\n").output == "fine\n"


def test_every_process_has_its_own_memory(tmp_path):
    (tmp_path / "shared.py").write_text("seen = []\n")
    path = program(tmp_path, "import shared\nshared.seen.append(1)\nprint(shared.seen)\n")
    loader = Loader([tmp_path])
    assert [run_program(path, loader=loader).output for _ in range(2)] == ["[1]\n", "[1]\n"]


def test_of_what_is_made_at_import_only_constants_are_shared(tmp_path):
    """A named tuple of names and constants is made once; one with a method or a call, each time."""
    (tmp_path / "records.py").write_text("""if True:
        import time
        from typing import NamedTuple
        class Plain(NamedTuple):
            number: int = 7
        class Able(NamedTuple):
            number: int = 7
            def twice(self): return 2 * self.number
        class Stamped(NamedTuple):
            moment: float = time.monotonic()
    """)
    text = "import records, time\ntime.sleep(1)\nprint(records.Plain(), records.Stamped().moment)\n"
    path, loader = program(tmp_path, text), Loader([tmp_path])
    one, other = (run_program(path, loader=loader) for _ in range(2))
    assert one.output == other.output != ""
    records = [run.process.modules["records"] for run in (one, other)]
    assert records[0].Plain is records[1].Plain
    assert records[0].Able is not records[1].Able
    assert records[0].Stamped is not records[1].Stamped


def test_a_notify_still_wakes_whoever_the_schedule_says(tmp_path):
    """It is no point of its own; what it wakes is drawn, and runs when the lock is free."""
    text = """if True:
        import threading
        lock, woken = threading.Lock(), []
        ready = threading.Condition(lock)
        def wait(name):
            with lock:
                ready.wait()
                woken.append(name)
        threads = [threading.Thread(target=wait, args=(name,)) for name in "ab"]
        for thread in threads: thread.start()
        while True:
            with lock:
                if len(ready.waiters) == 2: break
        for _ in threads:
            with lock: ready.notify()
        for thread in threads: thread.join()
        print(*woken)
    """
    outputs = {play(tmp_path, text, STRATEGIES["uniform"](seed, 100)).output for seed in range(60)}
    assert outputs == {"a b\n", "b a\n"}


def test_a_race_is_lost_under_one_schedule_and_that_schedule_repeats():
    path, loader = MODELS / "lost_update.py", Loader([MODELS])
    tried = list(exhaust(lambda strategy: run_program(path, strategy, loader=loader), "lost_update", 1))
    lost = [schedule for schedule, run in tried if run.failures]
    assert lost and not tried[0][1].failures  # never without an interruption
    again = from_lists(as_lists(lost[0]))
    assert run_program(path, Replay(again), loader=loader).failures == ("exit status 1",)


def test_with_a_lock_every_schedule_is_well_and_the_search_is_complete():
    path, loader = MODELS / "lost_update.py", Loader([MODELS])

    def locked(strategy: Strategy):
        return run_program(path, strategy, loader=loader, arguments=["locked"])

    tried = list(exhaust(locked, "lost_update", 2))
    assert len(tried) == len({tuple(schedule) for schedule, _ in tried}) > 100
    assert not any(run.failures for _, run in tried)


def test_a_circle_of_locks_is_told_when_it_closes():
    path, loader = MODELS / "opposite_orders.py", Loader([MODELS])
    tried = exhaust(lambda strategy: run_program(path, strategy, loader=loader), "opposite_orders", 1)
    assert any("deadlock" in run.failures for _, run in tried)


@pytest.mark.parametrize("name", STRATEGIES)
def test_each_strategy_repeats_itself_and_its_schedule_repeats_it(name):
    path, loader = MODELS / "lost_update.py", Loader([MODELS])
    for seed in range(5):
        runs = [run_program(path, STRATEGIES[name](seed, 100), loader=loader) for _ in range(2)]
        again = run_program(path, Replay(runs[0].kernel.deviations), loader=loader)
        trails = [run.kernel.trail for run in (*runs, again)]
        assert trails[0] == trails[1] == trails[2]


def test_a_power_cut_takes_what_was_not_synced(tmp_path):
    disk = Disk()
    play(tmp_path, """if True:
        import os
        file = os.open("log", os.O_WRONLY | os.O_CREAT)
        folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
        os.write(file, b"safe")
        os.fsync(file)
        os.fsync(folder)
        os.write(file, b"lost")
        os.rename("log", "renamed")
    """, disk=disk)
    assert bytes(disk.find("renamed").data) == b"safelost"
    disk.cut_power(lambda what, outcomes: int("torn" not in what))
    assert bytes(disk.find("log").data) == b"safe"
    assert not disk.exists("renamed")


def test_a_power_cut_may_tear_the_first_write_that_it_takes(tmp_path):
    disk = Disk()
    play(tmp_path, """if True:
        import os
        file = os.open("log", os.O_WRONLY | os.O_CREAT)
        os.fsync(os.open(".", os.O_RDONLY))
        os.write(file, b"12345678")
    """, disk=disk)
    disk.cut_power(lambda what, outcomes: 2 if "torn" in what else 1)
    assert bytes(disk.find("log").data) == b"1234"


def test_a_full_disk_is_an_error_of_write(tmp_path):
    disk = Disk()
    disk.failing["write"] = OSError(28, "No space left on device")
    assert play(tmp_path, """if True:
        try:
            open("f", "w").write("x" * 100_000)
        except OSError as problem:
            print(problem.errno)
    """, disk=disk).output.startswith("28")


def test_where_no_file_may_be_longer_a_write_is_short_and_the_next_an_error(tmp_path):
    disk, told = Disk(), []
    disk.length_max, disk.on_struck = 7, told.append
    assert play(tmp_path, """if True:
        import os
        file = os.open("f", os.O_WRONLY | os.O_CREAT)
        print(os.write(file, b"12345"), os.write(file, b"67890"))
        for call in (lambda: os.write(file, b"0"), lambda: os.posix_fallocate(file, 0, 8)):
            try:
                call()
            except OSError as problem:
                print(problem.errno)
    """, disk=disk).output == f"5 2\n{errno.EFBIG}\n{errno.EFBIG}\n"
    assert bytes(disk.find("f").data) == b"1234567" and told == [{"limit": 7}] * 3


def test_the_run_ends_with_the_error_of_a_world_that_is_stuck():
    kernel = Kernel(Strategy())
    kernel.network = Network()
    with pytest.raises(Stuck):
        kernel.run(lambda: kernel.block("nothing", None))
    assert issubclass(Endless, Exception)
