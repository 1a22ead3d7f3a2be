"""What the stores on a disk have in common: entries, group commit, and leaving garbage behind.

An entry is what one `append` keeps, as text; its position is its number. Of the threads that wait for the
disk one leads, and its sync is for all that was appended when it began; the others follow. So a hundred
threads may share one sync, and nobody holds a lock while the disk works.

A log grows with all that happens, though only what is alive matters. When garbage outweighs that, a thread
replays the log into a queue of its own and puts a snapshot in its place, while the broker goes on.
"""
import copy
import gc
import json
import os
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, NoReturn, get_args, get_type_hints

from ..lifecycle import Queue, apply
from ..messages import Acked, Record, Submitted
from ..store import StorageFull, Unusable
from . import routing
from .snapshot import Totals, snapshot

GARBAGE_MIN = 50_000  # records; less is not worth the trouble
BATCH = 1000  # how many records of a snapshot share an entry, how many entries are decoded at a time

# ---- Entries: [["Submitted",1,"a payload"]]. New fields of a record come last, and have a default.

KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in (*get_args(Record), *routing.RECORDS, Totals)}
RAW = {name: [n for n, hint in enumerate(get_type_hints(kind).values()) if hint is bytes]
       for name, kind in KINDS.items()}  # places of bytes; those that are not UTF-8 pass unchanged
_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"),
                         default=lambda data: data.decode("utf-8", "surrogateescape"))


def encode(records: Iterable[Any]) -> bytes:
    text = _json.encode([[type(record).__name__, *record] for record in records])
    return text.encode("utf-8", "surrogateescape")


def decode(entries: Iterator[bytes]) -> Iterator[Any]:
    while batch := list(islice(entries, BATCH)):  # three times as fast as one by one
        for records in json.loads((b"[%b]" % b",".join(batch)).decode("utf-8", "surrogateescape")):
            for name, *values in records:
                if not (kind := KINDS.get(name)):
                    raise Unusable(f"a newer dsjq must have written this: I know of no record {name!r}")
                for n in RAW[name]:
                    values[n] = values[n].encode("utf-8", "surrogateescape")
                whole = len(values) == len(kind._fields)
                yield tuple.__new__(kind, values) if whole else kind(*values)  # the first is twice as fast


class Log(ABC):
    """A Store, but for what touches the disk."""

    epoch: int
    clock_s: float

    def __init__(self) -> None:
        self.turn = threading.Condition()  # guards all that follows; nobody holds it while the disk works
        self.appended = self.durable = 0  # positions
        self.leading = self.compacting = False
        self.alive = self.garbage = self.recovered = 0  # records
        self.cut = 0  # bytes of a torn end that were not recovered

    def load(self, queue: Queue) -> None:
        self.blank = copy.deepcopy(queue)
        gc.disable()  # it would look through all these jobs again and again, and find that none is garbage
        self.recovered = self._replay(queue)
        gc.freeze()
        gc.enable()
        self.alive, self.garbage = len(queue.jobs), self.recovered - len(queue.jobs)
        self._begin()

    def append(self, records: list[Record]) -> int:
        entry = encode(records)
        born = sum(isinstance(record, Submitted) for record in records)
        over = sum(isinstance(record, Acked) for record in records)
        with self.turn:
            position = self._append(entry, records)
            self.alive += born - over
            self.garbage += len(records) - born + over
        return position

    def wait(self, position: int) -> None:
        with self.turn:
            while self.durable < position:
                if self.leading:
                    self.turn.wait()
                else:
                    self._lead(self._sync)
            if self.garbage > max(self.alive, GARBAGE_MIN) and not self.compacting:
                self.compacting = True
                threading.Thread(target=self._compact, name="compact", daemon=True).start()

    def _lead(self, work: Callable[[], object]) -> None:
        """Let `work` make safe what was appended by now, and the others go on meanwhile."""
        self.leading, reached = True, self.appended
        self.turn.release()
        try:
            work()
        except Exception as problem:
            stop(problem)
        finally:
            self.turn.acquire()
        self.durable, self.leading = reached, False
        self.turn.notify_all()

    def _compact(self) -> None:
        with self.turn:
            last, garbage = self.durable, self.garbage
        try:
            queue = copy.deepcopy(self.blank)
            self._replay(queue, last)
            records = snapshot(queue)
            self._replace([encode(batch) for batch in iter(lambda: list(islice(records, BATCH)), [])], last)
        except StorageFull:
            pass  # there may be room for both when as much garbage has gathered again
        except Exception as problem:
            stop(problem)
        with self.turn:
            self.garbage -= garbage
            self.compacting = False

    def _replay(self, queue: Queue, last: int | None = None) -> int:
        """How many records there were, all or those up to position `last`."""
        count = 0
        for record in decode(self._entries(last)):
            apply(queue, record)
            count += 1
        return count

    @abstractmethod
    def _entries(self, last: int | None) -> Iterator[bytes]:
        """What survived, in order; or what has a position up to `last`."""

    @abstractmethod
    def _begin(self) -> None:
        """Write anew what survived, and sync it: what can be read may be in memory alone."""

    @abstractmethod
    def _append(self, entry: bytes, records: list[Record]) -> int:
        """`append`, while `turn` is held."""

    @abstractmethod
    def _sync(self) -> None:
        """Make safe whatever was appended before the call."""

    @abstractmethod
    def _replace(self, entries: list[bytes], last: int) -> None:
        """Put `entries` where those up to position `last` were. They end at the same position."""


def stop(problem: object) -> NoReturn:
    """End the process before anybody is answered.

    What could not be written may be forgotten by now: the next sync would succeed, and be a lie.
    """
    print(f"dsjq: the disk failed, so the broker stops at once: {problem}", file=sys.stderr, flush=True)
    os._exit(os.EX_IOERR)
