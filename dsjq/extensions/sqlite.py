"""The same store on SQLite, which does by itself much of what journal.py does by hand.

One row for each entry. `append` only queues it; whoever leads inserts what is queued, and commits. Between
"in memory" and "safe" there is nothing here, so a delivery is waited for like everything else: that is the
price. A commit that fails stops the broker, and so does a full disk.
"""
import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

from ..messages import Record
from ..store import Unusable
from .folder import clock_since, sync_names, take, this_boot
from .log import Log

FORMAT = 1
SCHEMA = """
    CREATE TABLE IF NOT EXISTS start (format INTEGER, epoch INTEGER, clock_s REAL, boot TEXT);
    CREATE TABLE IF NOT EXISTS entries (position INTEGER PRIMARY KEY, crc INTEGER, body BLOB);
"""
INSERT = "INSERT INTO entries VALUES (?, ?, ?)"
DELETE = "DELETE FROM entries WHERE position <= ?"


class SQLite(Log):
    """Raises Unusable if the folder cannot be used."""

    def __init__(self, folder: Path):
        super().__init__()
        self.folder, self.path = folder, folder / "jobs.sqlite"
        self.lock = take(folder)
        self.rows: list[tuple[int, int, bytes]] = []  # appended, and not yet inserted
        with self._usable():
            self._write_anew()
            self.db = self._open()
            self.db.executescript(SCHEMA)
            start = self.db.execute("SELECT * FROM start").fetchone()
        format, epoch, clock_s, boot = start or (FORMAT, 0, 0.0, "")
        if format != FORMAT:
            raise Unusable(f"{self.path} has format {format}, and I know {FORMAT}")
        self.epoch, self.clock_s = epoch + 1, clock_since(boot, clock_s)

    def close(self) -> None:
        self.db.close()
        self.lock.close()

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        return db

    def _write_anew(self) -> None:
        """What can be read may be in memory alone."""
        if self.path.exists():
            new = self.folder / "jobs.sqlite.new"
            new.unlink(missing_ok=True)
            db = self._open()
            db.execute("VACUUM INTO ?", [str(new)])
            db.close()  # also ends its log, which must not be found beside the new file
            with new.open("rb") as file:
                os.fsync(file.fileno())
            new.rename(self.path)
            sync_names(self.folder)

    def _entries(self, last: int | None) -> Iterator[bytes]:
        db = self._open()  # one of its own: to read does not keep who writes waiting
        with self._usable(), contextlib.closing(db):
            previous = None
            for position, crc, body in db.execute("SELECT * FROM entries ORDER BY position"):
                if last is not None and position > last:
                    return
                if crc32(body) != crc or previous not in (None, position - 1):
                    raise Unusable(f"{self.path} is damaged at entry {position}")
                previous = position
                yield body

    @contextlib.contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as problem:
            raise Unusable(f"{self.path}: {problem}") from None

    def _begin(self) -> None:
        with self._usable():
            [self.appended] = self.db.execute("SELECT coalesce(max(position), 0) FROM entries").fetchone()
            start = [FORMAT, self.epoch, self.clock_s, this_boot()]
            self._commit(("DELETE FROM start", [()]), ("INSERT INTO start VALUES (?, ?, ?, ?)", [start]))
        self.durable = self.appended

    def _append(self, entry: bytes, records: list[Record]) -> int:
        self.appended += 1
        self.rows.append(_row(self.appended, entry))
        return self.appended

    def _sync(self) -> None:
        with self.turn:
            rows, self.rows = self.rows, []
        self._commit((INSERT, rows))

    def _replace(self, entries: list[bytes], last: int) -> None:
        rows = [_row(position, entry) for position, entry in enumerate(entries, last - len(entries) + 1)]

        def replace() -> None:
            self._sync()
            self._commit((DELETE, [[last]]), (INSERT, rows))

        with self.turn:
            while self.leading:
                self.turn.wait()
            self._lead(replace)

    def _commit(self, *statements: tuple[str, Iterable[Any]]) -> None:
        self.db.execute("BEGIN")
        for statement, rows in statements:
            self.db.executemany(statement, rows)
        self.db.execute("COMMIT")


def _row(position: int, entry: bytes) -> tuple[int, int, bytes]:
    return position, crc32(entry), entry
