"""Each fault, on real processes: it strikes whom and when it should, and the history says so."""
import errno
import os
import subprocess
import sys
from itertools import pairwise

import pytest
from histories import Told
from playing import FOUR_COMMANDS, came_to_rest, ending, only, ops_of, scenario

from dsjq_lab import runs
from dsjq_lab.brokers import Command, Dsjq
from dsjq_lab.errors import LabError
from dsjq_lab.history import History, Op
from dsjq_lab.limits import Descriptors, FileSize
from dsjq_lab.model import Model
from dsjq_lab.vacuity import unproven
from dsjq_lab.variation import Variation

MS = 1_000_000


# The shim cannot be loaded before it, so its disk is unseen.
BLACK_BOX = Command(f"{sys.executable} -m dsjq serve --port {{port}} --data {{data}}")


@pytest.fixture
def play(tmp_path):
    """Plays a scenario with these faults; its history, which must end in good order."""
    def played(faults: str, broker: Dsjq | None = None, store: str = "memory", **options) -> list[Op]:
        store_it = Variation((f"broker.store={store}",))
        ops = ops_of(runs.play(scenario(tmp_path, faults, **options), broker=broker, variation=store_it))
        assert came_to_rest(ops), ending(ops)
        return ops
    return played


def phases(ops: list[Op], verb: str) -> list[Op]:
    """Of the only strike of that verb: begin, struck, end."""
    strikes = only(ops, process="nemesis", f=verb)
    assert [op.value["phase"] for op in strikes] == ["begin", "struck", "end"]
    return strikes


def between(ops: list[Op], first: Op, last: Op) -> list[Op]:
    return [op for op in ops if first.time_ns < op.time_ns < last.time_ns]


def test_a_handler_hangs_and_its_lease_is_renewed_until_max_runtime(play):
    ops = play("[{when: {before_work: 2}, hang: that worker, until: {redelivered: that job}}]",
               workers={"renew": True, "max_runtime": "800ms"})
    begin, struck, end = phases(ops, "hang")
    victim = begin.value["victim"]
    during = between(ops, struck, end)
    touches = only(during, process=victim, f="touch", type="ok")
    assert 3 <= len(touches) <= 6  # every 167 ms, for 800 ms
    job = touches[0].value["job"]
    again = [op for op in only(during, f="reserve", type="ok") if op.value.get("job") == job]
    assert [op.process == victim for op in again] == [False]
    assert again[0].time_ns > touches[-1].time_ns + 400 * MS
    late = [op for op in only(ops, process=victim, f="ack") if op.time_ns > struck.time_ns][:2]
    assert [op.type for op in late] == ["invoke", "fail"]  # it goes on with what it had in hand, too late


def test_without_renewals_a_hanging_handler_loses_its_job_with_the_lease(play):
    ops = play("[{when: {before_ack: 2}, hang: that worker, for: 900ms}]")
    begin, struck, end = phases(ops, "hang")
    assert begin.value["exact"] and end.time_ns - struck.time_ns >= 900 * MS
    assert not only(ops, f="touch")
    victim = begin.value["victim"]
    late = [op for op in only(ops, process=victim) if op.time_ns > struck.time_ns][:2]
    assert [(op.f, op.type) for op in late] == [("ack", "invoke"), ("ack", "fail")]
    assert late[0].time_ns >= struck.time_ns + 900 * MS  # it may be awake before the lab notes the end


def test_a_worker_that_hangs_at_no_gate_is_struck_at_its_next_handler(play):
    ops = play("[{hang: worker 1, at: 0s, for: 300ms}]", rate="20/s", jobs=20)
    begin, struck, _ = phases(ops, "hang")
    assert not begin.value["exact"]
    taken = [op for op in only(ops, process="worker 1", f="reserve", type="ok") if "id" in op.value]
    assert taken[0].time_ns < struck.time_ns < taken[1].time_ns


def test_a_throttled_worker_goes_on_slowly(play):
    ops = play("[{throttle: that worker, to: 30%, when: {acked: 2}, for: 1s}]", jobs=60, rate="40/s",
               workers={"count": 1, "work_time": "0s"})
    begin, _, end = phases(ops, "throttle")
    moments = [op.time_ns for op in between(only(ops, process="worker 1"), begin, end)]
    gaps = [after - before for before, after in pairwise(moments)]
    assert sum(gap > 50 * MS for gap in gaps) >= 5  # stopped 70 ms of each 100
    assert len(moments) > 20


def test_a_process_that_ignores_sigterm_is_killed_and_the_history_says_so(tmp_path, play):
    broker = tmp_path / "broker.py"
    broker.write_text("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + FOUR_COMMANDS)
    ops = play("[{restart: broker, when: {acked: 6}, grace: 300ms}]", broker=Dsjq(broker))
    begin, struck, _ = phases(ops, "restart")
    (escalated,) = only(ops, f="escalated")
    assert escalated.value == {"victim": "broker", "after_s": 0.3}
    assert begin.time_ns + 300 * MS <= escalated.time_ns < struck.time_ns
    exits = [op.value for op in only(ops, f="exit") if op.value["victim"] == "broker"]
    assert exits == [{"victim": "broker", "status": -9, "planned": True}]


def test_a_polite_broker_is_not_killed(play):
    ops = play("[{restart: broker, when: {acked: 6}, grace: 2s}]")
    phases(ops, "restart")
    assert not only(ops, f="escalated")


def test_an_event_ends_a_fault(play):
    ops = play("[{kill: worker 1, at: 0s, until: {acked: 5}}]", rate="10/s", jobs=8)
    _, _, end = phases(ops, "kill")
    acks = only(ops, f="ack", type="ok")
    assert acks[4].time_ns < end.time_ns < acks[5].time_ns


def test_an_event_that_is_over_ends_a_fault_at_once(play):
    ops = play("[{when: {acked: 4}, pause: worker 1, until: {acked: 2}}]")
    phases(ops, "pause")  # had it waited for another event, the run would not have come to rest


def test_an_end_that_never_comes_does_not_keep_the_run(tmp_path):
    faults = "[{throttle: worker 1, to: 50%, at: 0s, until: {acked: 99}}]"
    ops = ops_of(runs.play(scenario(tmp_path, faults, finish_within="1s")))
    phases(ops, "throttle")
    assert "a fault has not ended" in str(ending(ops)["why"])


def test_one_fault_comes_after_another(play):
    ops = play("[{after: first, pause: worker 2, for: 50ms}, "
               "{id: first, kill: worker 1, every: 100ms, until: 200ms, restart_after: 50ms}]")
    kills, pauses = only(ops, process="nemesis", f="kill"), phases(ops, "pause")
    assert len(kills) == 6 and kills[-1].time_ns < pauses[0].time_ns


def test_the_start_of_the_broker_is_an_event(play):
    ops = play("[{restart: broker, at: 50ms}, {when: {broker_ready: 2}, kill: worker 1, restart_after: 0s}]",
               rate="20/s")
    begin, *_ = phases(ops, "kill")
    assert begin.time_ns > only(ops, f="broker_ready")[1].time_ns and not begin.value["exact"]


def test_a_worker_dies_when_its_ack_has_left_and_its_reply_is_not_read(play):
    ops = play("[{when: {ack_sent: 3}, kill: that worker, restart_after: 0s}]")
    begin, *_ = phases(ops, "kill")
    his = [op for op in only(ops, process=begin.value["victim"]) if op.time_ns < begin.time_ns]
    assert (his[-1].type, his[-1].f) == ("invoke", "ack")


def test_an_operator_kicks_dead_jobs(play):
    ops = play("[{when: {failed: 7}, kick: dead jobs}]", workers={"count": 1, "fail_rate": 0.8},
               max_attempts=2)
    kicks = only(ops, f="kick", type="ok")
    assert kicks and {op.process for op in kicks} == {"auditor"}
    for kick in kicks:
        again = [op for op in only(ops, f="reserve", type="ok") if op.value.get("job") == kick.value["job"]]
        assert again[-1].time_ns > kick.time_ns
    assert not only(ops, process="nemesis")


def test_a_kick_that_finds_nobody_dead_is_missed(play):
    ops = play("[{when: {acked: 1}, kick: dead jobs}]")
    assert [(op.f, op.value["phase"]) for op in only(ops, process="nemesis")] == [("kick", "missed")]


@pytest.mark.parametrize(("kind", "types"), [
    ("append", ["ok", "ok"]),
    ("idempotent", ["ok", "fail"]),
    ("fenced", ["ok", "fail"]),
])
def test_a_zombie_writes_late(play, kind, types):
    ops = play("[{when: {before_effect: 2}, pause: that worker, until: {acked: that job}}]",
               workers={"effect": kind})
    begin, *_ = phases(ops, "pause")
    late = [op for op in only(ops, f="effect") if op.value["worker"] == begin.value["victim"]][-1]
    effects = [op for op in only(ops, process="ledger") if op.value["job"] == late.value["job"]]
    assert [op.type for op in effects] == types and effects[-1] == late
    acks = [op for op in only(ops, f="ack", type="invoke") if op.value["job"] == late.value["job"]]
    assert len(acks) == (1 if kind == "fenced" else 2)  # who is fenced off has lost the job, and drops it


@pytest.mark.parametrize(("kind", "types"), [("append", ["ok", "ok"]), ("idempotent", ["ok", "fail"]),
                                             ("fenced", ["ok", "ok"])])
def test_a_worker_dies_between_its_effect_and_its_ack(play, kind, types):
    ops = play("[{when: {before_ack: 2}, kill: that worker, restart_after: 0s}]", workers={"effect": kind})
    effects: dict[str, list[str]] = {}
    for op in only(ops, process="ledger"):
        effects.setdefault(op.value["job"], []).append(op.type)
    assert sorted(effects.values(), key=len) == [["ok"]] * 5 + [types]
    assert len(only(ops, f="ack", type="ok")) == 6  # an effect that is there already is acknowledged


def test_gates_are_answered_while_the_broker_starts(tmp_path, play):
    broker = tmp_path / "broker.py"
    broker.write_text("import pathlib, time\nlived = pathlib.Path(__file__).with_suffix('.lived')\n"
                      "if lived.exists(): time.sleep(1)\nlived.touch()\n" + FOUR_COMMANDS)
    ops = play("[{when: {before_work: 2}, kill: broker, restart_after: 0s}, "
               "{when: {before_ack: 4}, pause: worker 1, for: 0s}]",
               broker=Dsjq(broker), workers={"work_time": "300ms"})
    _, struck, end = phases(ops, "kill")
    assert end.time_ns - struck.time_ns > 1000 * MS
    assert len(only(between(ops, struck, end), f="ack", type="invoke")) == 2


def test_an_exact_fault_takes_the_next_occasion_if_its_victim_is_struck_already(play):
    ops = play("[{when: {delivered: 2}, pause: that worker, for: 300ms}, "
               "{when: {delivered: 2}, kill: that worker, restart_after: 0s}]")
    pause, *_ = phases(ops, "pause")
    kill, *_ = phases(ops, "kill")
    assert kill.value["exact"] and kill.value["victim"] != pause.value["victim"]


# -- The disk

def exits(ops: list[Op]) -> list[tuple[int, bool]]:
    return [(op.value["status"], op.value["planned"]) for op in only(ops, f="exit")
            if op.value["victim"] == "broker"]


def lost(ops: list[Op]) -> list[str]:
    """Jobs that were confirmed, and of which no ACK may have counted."""
    return [job.nonce for job in Model(History(Told().header, ops, truncated=False)).unaccounted()]


def test_a_loss_of_power_takes_what_was_not_synced_and_nothing_that_was_confirmed(play):
    ops = play("[{when: {delivered: 6}, power_loss: broker, restart_after: 0s}]", store="journal",
               workers={"count": 1})
    phases(ops, "power_loss")
    (gone,) = only(ops, f="lost_power")
    assert gone.value["gone"] > 0  # the record of the last lease, for which nobody waits
    assert not lost(ops) and exits(ops) == [(-9, True)]


@pytest.mark.parametrize("operation", ["fsync", "write"])
def test_the_broker_is_killed_in_the_middle_of_what_it_does_to_its_disk(play, operation):
    ops = play(f"[{{when: {{before_ack: 3}}, kill_on: {{{operation}: 1}}, restart_after: 0s}}]",
               store="journal", workers={"count": 1})
    begin, _, _ = phases(ops, "kill_on")
    acks = [op for op in only(ops, f="ack") if op.time_ns > begin.time_ns]
    assert [op.type for op in acks[:2]] == ["invoke", "info"]  # it was heard, and never answered
    third = acks[0].value["job"]
    again = [op for op in only(ops, f="reserve", type="ok") if op.value.get("job") == third]
    assert len(again) == (1 if operation == "fsync" else 2)  # it counted; or half of it was written
    assert exits(ops) == [(-9, True)]


def test_a_broker_ends_when_an_fsync_fails_and_is_started_again(play):
    ops = play("[{when: {acked: 2}, fsync_error: broker, restart_after: 100ms}]", store="journal")
    _, struck, end = phases(ops, "fsync_error")
    assert struck.value["covers_from_ns"] < struck.value["failed_ns"] <= struck.time_ns
    assert exits(ops) == [(74, True)] and end.time_ns > struck.time_ns + 100 * MS
    assert not lost(ops)


def test_a_broker_that_ends_long_after_its_fsync_has_failed_is_started_again_too(play, tmp_path):
    broker = tmp_path / "broker.py"
    broker.write_text("import os, sys, time\nfrom dsjq import cli\nfrom dsjq.extensions import log\n"
                      "def stop(problem):\n    time.sleep(0.4)\n    os._exit(3)\nlog.stop = stop\n"
                      "cli.main(['serve', *sys.argv[1:]])\n")
    ops = play("[{when: {acked: 2}, fsync_error: broker, restart_after: 0s}]", Dsjq(broker), store="journal")
    assert exits(ops) == [(3, True)]
    strikes = only(ops, process="nemesis", f="fsync_error")
    assert [op.value["phase"] for op in strikes] == ["begin", "struck", "end", "end"]
    assert not lost(ops)


def test_a_slow_disk_makes_everybody_wait_for_a_while(play):
    ops = play("[{when: {acked: 2}, slow_fsync: broker, by: 50ms, until: {acked: 5}}]", store="journal",
               workers={"count": 1})
    _, struck, end = phases(ops, "slow_fsync")
    acks = between(only(ops, f="ack"), struck, end)
    waits = [done.time_ns - asked.time_ns for asked, done in pairwise(acks) if asked.type == "invoke"]
    assert len(waits) >= 2 and min(waits) >= 50 * MS


@pytest.mark.parametrize("store", ["journal", "sqlite"])
def test_the_last_record_is_torn_and_nobody_misses_it(play, store):
    ops = play("[{when: {delivered: 6}, torn_tail: broker, bytes: 3, restart_after: 0s}]", store=store,
               workers={"count": 1})
    phases(ops, "torn_tail")
    (damaged,) = only(ops, f="damaged")
    assert damaged.value["at"] == damaged.value["of"] - 3
    assert not lost(ops) and len(only(ops, f="reserve", type="ok")) > 6


def test_a_bit_flips_and_the_broker_says_where(tmp_path):
    path = scenario(tmp_path, "[{when: {delivered: 6}, bit_flip: broker, restart_after: 0s}]")
    ops = ops_of(runs.play(path, variation=Variation(("broker.store=journal",))))
    assert ending(ops)["decided"] and "is damaged at byte" in str(ending(ops)["why"])


def test_a_disk_is_full_for_a_while(play):
    ops = play("[{when: {submitted: 10}, disk_full: broker, for: 300ms}]", store="journal", jobs=80,
               payload="12KiB", rate="80/s")
    _, struck, end = phases(ops, "disk_full")
    refused = only(ops, f="submit", type="fail")
    assert refused and all("STORAGE" in str(op.error) for op in refused)
    assert all(struck.time_ns - 100 * MS < op.time_ns < end.time_ns + 100 * MS for op in refused)
    assert not lost(ops) and not only(ops, f="ack", type="fail")


def test_no_descriptor_is_left_for_a_while(play):
    ops = play("[{when: {broker_ready: 1}, fd_limit: broker, spare: 2, for: 300ms}]", workers={"count": 5})
    _, struck, end = phases(ops, "fd_limit")
    assert end.time_ns - struck.time_ns >= 300 * MS and not lost(ops)


def test_a_limit_of_descriptors_is_met_when_the_last_is_used_and_not_before():
    program = "import os\nwhile input() == '':\n try: print(os.dup(0))\n except OSError as e: print(e.errno)"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-uc", program], **pipes) as child:
        def opened() -> int:
            child.stdin.write(b"\n")
            child.stdin.flush()
            return int(child.stdout.readline())
        assert opened() == 3
        limit = Descriptors(child.pid, spare=2)
        assert [opened(), limit.met, opened(), limit.met, opened()] == [4, False, 5, True, errno.EMFILE]
        limit.lift()
        assert opened() == 6
        child.kill()


@pytest.mark.parametrize("store", ["journal", "sqlite"])
def test_no_file_may_be_longer_for_a_while(store, play):
    ops = play("[{when: {submitted: 10}, file_limit: broker, for: 300ms}]", store=store, jobs=80,
               payload="12KiB", rate="80/s")
    phases(ops, "file_limit")
    assert not lost(ops) and not only(ops, f="ack", type="fail")
    assert bool(only(ops, f="submit", type="fail")) == (store == "journal")  # the other stops, and comes back


def test_a_file_ends_at_its_limit_and_before_that_the_limit_is_not_met(tmp_path):
    folder, log = tmp_path / "data", tmp_path / "log"
    folder.mkdir()
    (folder / "longest").write_bytes(b"12345")
    program = ("import os\nf = os.open('f', os.O_WRONLY | os.O_CREAT)\nwhile n := input():\n"
               " try: print(os.write(f, bytes(int(n))))\n except OSError as e: print(-e.errno)")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-uc", program], cwd=folder, **pipes) as child:
        def written(count: int) -> int:
            child.stdin.write(f"{count}\n".encode())
            child.stdin.flush()
            return int(child.stdout.readline())
        assert written(1) == 1
        limit = FileSize(child.pid, 2, folder, [log])
        assert [limit.limit, written(5), limit.met, written(5), limit.met] == [7, 5, False, 1, True]
        assert written(1) == -errno.EFBIG
        log.write_bytes(bytes(7))
        with pytest.raises(LabError, match="a log of the broker is as long as a file may be"):
            assert limit.met
        limit.lift()
        assert written(1) == 1
        child.kill()


def test_a_broker_that_uses_more_memory_is_killed(play):
    ops = play("[{at: 0s, memory_limit: broker, spare: 1MiB, restart_after: 0s}]", store="journal", jobs=80,
               payload="48KiB", rate="200/s", workers={"count": 1, "work_time": "30ms"})
    phases(ops, "memory_limit")
    (killed,) = only(ops, f="out_of_memory")
    assert killed.value["used"] > killed.value["limit"] and not lost(ops)


@pytest.mark.parametrize(("store", "broker", "why"), [
    ("memory", None, "in memory"),
    ("sqlite", None, "SQLite works on its files in C, unseen by the lab"),
    ("journal", BLACK_BOX, "by --broker FILE.py; instead there are file_limit, and kill_on"),
])
def test_a_fault_that_cannot_be_done_is_missed_and_the_history_says_why(store, broker, why, play):
    ops = play("[{at: 0s, disk_full: broker, for: 1s}]", broker, store=store)
    (missed,) = only(ops, process="nemesis")
    assert missed.value["phase"] == "missed" and why in missed.value["why"]
    assert why in unproven(Model(History(Told().header, ops, truncated=False)))[0]


def by_strace(ops: list[Op], verb: str) -> Op:
    """That it bit: strace has said so."""
    _, struck, _ = phases(ops, verb)
    assert "sync(" in struck.value["strace"]
    return struck


@pytest.mark.parametrize(("store", "broker"), [("sqlite", None), ("journal", BLACK_BOX)])
def test_a_fsync_fails_where_the_disk_is_unseen_and_the_broker_stops(store, broker, play):
    ops = play("[{when: {submitted: 5}, fsync_error: broker}]", broker, store=store, workers={"count": 2})
    struck = by_strace(ops, "fsync_error")
    assert struck.value["strace"].endswith("= -1 EIO (Input/output error) (INJECTED)")
    assert struck.value["covers_from_ns"] < struck.value["failed_ns"] < struck.time_ns
    (stopped,) = only(ops, f="exit", value={"victim": "broker", "status": os.EX_IOERR, "planned": True})
    assert stopped.time_ns > struck.value["failed_ns"] and not lost(ops)


def test_fsyncs_are_slow_where_the_disk_is_unseen(play):
    ops = play("[{when: {submitted: 5}, slow_fsync: broker, by: 300ms, for: 500ms}]", store="sqlite")
    struck = by_strace(ops, "slow_fsync")
    assert struck.value["strace"].endswith("= 0 (DELAYED)")
    assert not lost(ops) and not only(ops, f="exit", value={"victim": "broker"})


def test_a_broker_is_killed_by_a_fsync_where_the_disk_is_unseen(play):
    ops = play("[{when: {submitted: 5}, kill_on: {fsync: 2}, restart_after: 0s}]", store="sqlite")
    phases(ops, "kill_on")
    assert not lost(ops)


def test_without_strace_such_a_fault_is_missed_and_the_history_has_the_cure(play, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    ops = play("[{at: 0s, slow_fsync: broker, by: 1s, for: 1s}]", store="sqlite")
    (missed,) = only(ops, process="nemesis")
    assert "strace is not on PATH (apt-get install strace; in a container" in missed.value["why"]
