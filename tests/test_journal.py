"""The journal on its own: what a crash, a failing disk or a flipped bit may leave, and what is made of it."""
import contextlib
import errno
import os
import random
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_server import DEADLINE_S, ROOT, Wire, start
from test_store_contract import opened, told

from bench import crashes, sweep
from dsjq import messages as m
from dsjq.broker import Broker
from dsjq.extensions import journal
from dsjq.extensions.journal import Journal, Scan, Tail, pack
from dsjq.extensions.sqlite import SQLite
from dsjq.store import StorageFull, Unusable


def filled(folder: Path, jobs: int) -> list[int]:
    """Submit so many jobs; where each entry ends."""
    ends = []
    with opened(Journal, folder) as broker:
        for n in range(jobs):
            broker.execute(m.Submit(b"job %d" % n), broker.connect())
            ends.append(broker.store.tail.end)
    return ends


def change(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


# ---- Cut anywhere


def test_cut_at_every_boundary_and_at_every_byte_of_the_last_entries() -> None:
    for seed in range(2):
        with sweep.in_memory() as scratch:
            boundaries, inside = sweep.journal(seed, 80, last=4, scratch=scratch)
            assert boundaries > 30 and inside > 100


def test_sqlite_cut_at_every_commit_and_between() -> None:
    with sweep.in_memory() as scratch:
        commits, inside = sweep.sqlite(1, 60, step=8009, scratch=scratch)
        assert commits > 20 and inside > 10


def test_the_sweep_notices_what_was_told_and_is_lost() -> None:
    class Forgetful(Journal):
        def _append(self, entry: bytes, records: list[m.Record]) -> int:
            return 0 if isinstance(records[0], m.Acked) else super()._append(entry, records)

    with sweep.in_memory() as scratch, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep, "Journal", Forgetful)
        with pytest.raises(AssertionError, match="cut at byte"):
            sweep.journal(0, 100, 0, scratch)


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_killed_again_and_again_under_load(kind: str, tmp_path: Path) -> None:
    ledger = crashes.run(kind, 4, 1, tmp_path, backlog=20)
    assert ledger.done and not ledger.lost() and not ledger.wrong


# ---- A torn end, and damage


def test_a_torn_end_is_cut_off_and_reported(tmp_path: Path) -> None:
    ends = filled(tmp_path, 3)
    change(tmp_path / "journal", ends[-1] - 5, b"\0" * 5)
    with opened(Journal, tmp_path) as broker:
        assert list(told(broker)) == [1, 2]
        assert broker.store.cut == ends[-1] - 5 - ends[-2]
        assert broker.execute(m.Submit(b"goes on"), broker.connect()) == m.JobId(3)
    with opened(Journal, tmp_path) as broker:
        assert told(broker)[3] == ("PENDING", 0, b"goes on")
        assert broker.store.cut == 0


@pytest.mark.parametrize("seed", range(20))
def test_of_what_was_not_synced_any_part_may_be_there(tmp_path: Path, seed: int) -> None:
    """A loss of power keeps some sectors and not others, in any order."""
    dice = random.Random(seed)
    with opened(Journal, tmp_path) as broker:
        session = broker.connect()
        for n in range(5):
            broker.execute(m.Submit(b"safe %d" % n), session)
        safe, store = broker.store.tail.end, broker.store
        store.wait = lambda position: None
        for n in range(40):
            broker.execute(m.Submit(b"not safe %d " % n + bytes(dice.randrange(100))), session)
        before = told(broker)
    path = tmp_path / "journal"
    for sector in range(safe, store.tail.end, 64):
        if dice.random() < 0.3:
            change(path, sector, bytes(min(64, store.tail.end - sector)))
    with opened(Journal, tmp_path) as broker:
        after = told(broker)
        assert list(after) == list(range(1, len(after) + 1)) and len(after) >= 5
        assert after.items() <= before.items()


def test_damage_in_the_middle_stops_the_start_and_is_located(tmp_path: Path) -> None:
    ends = filled(tmp_path, 4)
    path = tmp_path / "journal"
    whole = path.read_bytes()
    for at in range(ends[0], ends[1]):  # every byte of the second
        change(path, at, bytes([whole[at] ^ 0x10]))
        damaged = path.read_bytes()
        with pytest.raises(Unusable, match=f"^{re.escape(str(path))} is damaged at byte {ends[0]}: entry 2 "):
            Broker(store=Journal(tmp_path))
        assert path.read_bytes() == damaged, "it must be left for a person to look at"
        change(path, at, whole[at:at + 1])
    with opened(Journal, tmp_path) as broker:
        assert len(told(broker)) == 4


def test_an_entry_that_is_missing_or_twice_there_is_damage(tmp_path: Path) -> None:
    ends = filled(tmp_path, 4)
    path = tmp_path / "journal"
    whole = path.read_bytes()
    for forged in (whole[:ends[0]] + whole[ends[1]:], whole[:ends[1]] + whole[ends[0]:]):
        path.write_bytes(forged)
        with pytest.raises(Unusable, match="is damaged at byte"):
            Broker(store=Journal(tmp_path))


def test_what_was_recovered_once_may_not_be_torn_any_more(tmp_path: Path) -> None:
    """It was written anew and synced before the broker served, so a hole in it is damage."""
    filled(tmp_path, 3)
    with opened(Journal, tmp_path) as broker:
        end = broker.store.tail.end
    os.truncate(tmp_path / "journal", end - 1)
    with pytest.raises(Unusable, match="damaged"):
        Broker(store=Journal(tmp_path))


def test_a_payload_that_looks_like_an_entry_is_none(tmp_path: Path) -> None:
    with opened(Journal, tmp_path) as broker:
        for payload in (pack(3, 99, b'[["Acked",1]]'), b"last"):
            broker.execute(m.Submit(payload), broker.connect())
        end = broker.store.tail.end
    os.truncate(tmp_path / "journal", end - 1)
    with opened(Journal, tmp_path) as broker:
        assert list(told(broker)) == [1]


@pytest.mark.parametrize("at", [0, 4, 8, 16, 30])
def test_a_damaged_header(tmp_path: Path, at: int) -> None:
    filled(tmp_path, 1)
    change(tmp_path / "journal", at, b"\xaa")
    with pytest.raises(Unusable, match="damaged at byte 0"):
        Journal(tmp_path)


def test_a_new_file_that_was_not_finished_is_nothing(tmp_path: Path) -> None:
    filled(tmp_path, 2)
    (tmp_path / "journal.new").write_bytes(b"half of it")
    with opened(Journal, tmp_path) as broker:
        assert len(told(broker)) == 2


# ---- In which order things become safe


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the journal asks of the kernel, by name."""
    made: list[str] = []

    def watch(name: str, describe: Any) -> None:
        real = getattr(os, name)

        def watched(*arguments: Any) -> Any:
            made.append(describe(*arguments))
            return real(*arguments)
        monkeypatch.setattr(os, name, watched)

    def file(number: int) -> str:
        return Path(os.readlink(f"/proc/self/fd/{number}")).name

    watch("pwrite", lambda number, *_: f"write {file(number)}")
    watch("fsync", lambda number: f"sync {file(number)}")
    watch("replace", lambda old, new: f"rename {old.name} {new.name}")
    monkeypatch.setattr(Journal, "sync", lambda self, number: (
        made.append(f"sync {file(number)}"), os.fdatasync(number))[1])
    yield made


def test_a_start_is_safe_before_it_serves(tmp_path: Path, calls: list[str]) -> None:
    folder = tmp_path / "data"
    filled(folder, 1)
    calls.clear()
    with opened(Journal, folder):
        assert calls == [f"sync {tmp_path.name}", "write journal.new", "write journal.new",
                         "sync journal.new", "rename journal.new journal", "sync data"]


def test_a_snapshot_is_safe_before_it_counts(tmp_path: Path, calls: list[str]) -> None:
    folder = tmp_path / "data"
    with opened(Journal, folder) as broker:
        broker.execute(m.Submit(b"x"), broker.connect())
        calls.clear()
        broker.store._compact()
        assert calls == ["write journal.new", "write journal.new", "sync journal.new", "write journal.new",
                         "sync journal.new", "rename journal.new journal", "sync data"]


# ---- No room


def no_room(*_: object) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_refuses_new_jobs_and_finishes_the_old(tmp_path: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(Journal, tmp_path) as broker:
        session = broker.connect()
        broker.store.wait = lambda position: None  # the sync is not the point here
        monkeypatch.setattr(os, "posix_fallocate", no_room)
        replies = [broker.execute(m.Submit(1000 * b"x"), session) for _ in range(1000)]
        kept = [reply.job for reply in replies if isinstance(reply, m.JobId)]
        refused = [reply for reply in replies if isinstance(reply, m.Error)]
        assert kept == list(range(1, len(kept) + 1)) and len(kept) > 100
        assert {reply.code for reply in refused} == {"STORAGE"}
        assert broker.queue.submitted == len(kept)
        for id in kept[:300]:  # what is left of the reserve is enough for them
            assert broker.execute(m.Reserve(), session).job == id
            assert broker.execute(m.Ack(id), session) == m.Ok()
        monkeypatch.undo()  # somebody makes room
        assert broker.execute(m.Submit(b"again"), session) == m.JobId(len(kept) + 1)
        before = told(broker)
    with opened(Journal, tmp_path) as broker:
        assert told(broker) == before


@pytest.mark.parametrize("kept", [0, 1, 20])
def test_a_short_write_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    write = os.pwrite
    with opened(Journal, tmp_path) as broker:
        session = broker.connect()
        broker.execute(m.Submit(b"before"), session)
        monkeypatch.setattr(os, "pwrite", lambda file, data, at: write(file, data[:kept], at))
        for _ in range(3):
            assert broker.execute(m.Submit(b"never"), session).code == "STORAGE"
            assert broker.execute(m.Reserve(), session).code == "STORAGE"
        monkeypatch.undo()
        assert broker.execute(m.Submit(b"after"), session) == m.JobId(2)
        before = told(broker)
    with opened(Journal, tmp_path) as broker:
        assert told(broker) == before
        assert broker.store.cut == 0


def test_without_room_even_the_end_of_a_lease_must_wait(tmp_path: Path,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(Journal, tmp_path, ack_timeout_s=0.001) as broker:
        session, other = broker.connect(), broker.connect()
        broker.execute(m.Submit(b"x"), session)
        broker.execute(m.Reserve(), session)
        monkeypatch.setattr(os, "pwrite", no_room)
        broker.disconnect(session)
        assert broker.execute(m.Reserve(wait_s=60), other).code == "STORAGE"
        monkeypatch.undo()
        assert broker.execute(m.Reserve(wait_s=60), other).attempt == 2


def test_what_cannot_be_undone_ends_the_broker(tmp_path: Path) -> None:
    program = ("import errno, os, sys; from pathlib import Path; from dsjq.extensions.journal import Tail\n"
               "def fails(*_): raise OSError(errno.EIO, 'Input/output error')\n"
               "tail = Tail(Path(sys.argv[1])); os.pwrite = os.ftruncate = fails; tail.write(b'x')")
    result = subprocess.run([sys.executable, "-c", program, str(tmp_path / "file")], cwd=ROOT,
                            capture_output=True, text=True, timeout=DEADLINE_S)
    assert result.returncode == 74 and "the disk failed" in result.stderr


def test_room_is_made_ahead(tmp_path: Path) -> None:
    tail = Tail(tmp_path / "file")
    tail.write(b"x", spare=1000)
    assert tail.room >= 1001 and (tmp_path / "file").stat().st_size == tail.room
    os.close(tail.file)


def test_a_snapshot_without_room_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(Journal, tmp_path) as broker:
        session = broker.connect()
        broker.execute(m.Submit(b"x"), session)
        monkeypatch.setattr(Tail, "write", lambda *_, **__: (_ for _ in ()).throw(StorageFull("full")))
        broker.store._compact()
        monkeypatch.undo()
        assert not (tmp_path / "journal.new").exists()
        assert broker.execute(m.Submit(b"y"), session) == m.JobId(2)
    with opened(Journal, tmp_path) as broker:
        assert len(told(broker)) == 2


def test_a_limit_of_file_size_is_a_full_disk(tmp_path: Path) -> None:
    """As a real kernel does it."""
    limit = journal.ROOM + journal.RESERVE + 100_000
    program = (f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
               "import sys, dsjq.cli; dsjq.cli.main(sys.argv[1:])")
    command = [sys.executable, "-c", program, "serve", "--port", "0", "--data", str(tmp_path)]
    with start(command) as process:
        try:
            host, port = process.stdout.readline().split()[-1].split(":")
            with Wire((host, int(port))) as wire:
                confirmed = 0
                while (reply := wire.ask("SUBMIT " + 10_000 * "x")).startswith("JOB_ID "):
                    confirmed += 1
                assert reply.startswith("ERROR STORAGE ")
                for id in range(1, confirmed + 1):
                    assert wire.ask("REQUEST").startswith(f"JOB {id} ")
                    assert wire.ask(f"ACK {id}") == "OK"
                assert wire.ask("SUBMIT x").startswith("ERROR STORAGE ")
        finally:
            process.send_signal(signal.SIGKILL)
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != limit
    with opened(Journal, tmp_path) as broker:
        assert broker.queue.counts["DONE"] == confirmed > 10


def test_a_scan_of_nothing_is_a_new_journal(tmp_path: Path) -> None:
    scan = Scan(tmp_path / "journal")
    assert list(scan.entries()) == [] and scan.header["epoch"] == 0
    with contextlib.closing(SQLite(tmp_path / "other")) as store:
        assert store.epoch == 1
