"""A history is what the observers saw: every operation begun and ended, on one clock, and no opinion.

The file holds one JSON object a line: first a header that says what was run, then the operations in the
order in which they reached the lab's single writer. The types are Jepsen's: `invoke` is written before the
bytes leave, `ok` after the reply was read, `fail` means that it definitely did not happen, and `info` that
nobody knows. Whatever the lab concludes, it concludes from this file alone, so any run can be judged again.
"""

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any, NamedTuple

FORMAT = 2
FORMATS = (1, 2)  # this version and the previous one
TYPES = frozenset({"invoke", "ok", "fail", "info"})
FIELDS = itemgetter("time_ns", "process", "type", "f", "value", "error")


class HistoryError(ValueError):
    """The file is no history that this lab can read; the message opens with `file:line:`."""


class Header(NamedTuple):
    """What was run, and the promises that it is held to. Unknown fields of the file are ignored."""

    format: int
    lab: str
    scenario: str
    scenario_hash: str
    seed: int
    broker: str
    start_ns: int
    ack_timeout_ns: int
    max_attempts: int | None  # None: the broker was not told a limit
    finish_within_ns: int
    tolerance_ns: int = 1_000_000_000  # how late a lease may end, or a job come back
    backoff_ns: int = 0  # the longest that the broker may let a failed job wait for its retry
    durable: bool = False  # what was confirmed survives a death of the broker
    gives_back_at_disconnect: bool = True  # a job whose holder's connection has ended
    options: dict[str, Any] = {}  # noqa: RUF012 (never changed)  how the scenario was varied for this run
    not_asked: dict[str, str] = {}  # noqa: RUF012 (never changed)  invariant -> why it says nothing of this broker

    def line(self) -> str:
        return json.dumps(self._asdict(), ensure_ascii=False) + "\n"


class Op(NamedTuple):
    """One line of the history. `index` is its place in the file, counted from 0 after the header."""

    index: int  # type: ignore[assignment]  # hides tuple.index
    time_ns: int  # CLOCK_MONOTONIC
    process: str
    type: str
    f: str
    value: dict[str, Any]
    error: str | None

    def line(self) -> str:
        fields = self._asdict()
        del fields["index"]
        return json.dumps(fields, ensure_ascii=False) + "\n"


class History(NamedTuple):
    header: Header
    ops: list[Op]  # in the order of time
    truncated: bool  # the last line was damaged, and cut off: the lab was killed while it wrote


def read_history(path: Path) -> History:
    """Read a history file. Raises HistoryError where it is damaged anywhere but in its last line."""
    from pydantic_core import from_json  # three times as fast as json: docs/decisions/005

    first, *lines = path.read_bytes().split(b"\n")
    header = _read_header(path, first)
    if lines and not lines[-1]:
        lines.pop()  # the file ended, as it should, with a newline
    ops: list[Op] = []
    with no_garbage():
        try:
            for fields in map(from_json, lines):
                ops.append(_op(len(ops), fields))
        except (ValueError, KeyError, TypeError) as error:
            if len(ops) < len(lines) - 1:
                raise HistoryError(f"{path}:{len(ops) + 2}: not an operation: {error!r}") from error
        # Processes stamp their own lines, and a pipe may deliver them late.
        ops.sort(key=attrgetter("time_ns"))
    return History(header, ops, truncated=len(ops) < len(lines))


@contextmanager
def no_garbage() -> Iterator[None]:
    """Here much is made, and nothing is thrown away: to look for garbage would take as long as the work."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.freeze()
            gc.unfreeze()  # now it all counts as old: else the collector would look at it at once
            gc.enable()


def _read_header(path: Path, line: bytes) -> Header:
    try:
        fields = json.loads(line)
        version = fields["format"]
        if version in FORMATS:
            known = {name: fields[name] for name in Header._fields if name in fields}
            return Header(**known)
    except (ValueError, KeyError, TypeError) as error:
        raise HistoryError(f"{path}:1: not the header of a history: {error!r}") from error
    raise HistoryError(f"{path}:1: history format {version!r}; this lab reads {FORMATS}")


def _op(index: int, fields: dict[str, Any]) -> Op:
    op = Op(index, *FIELDS(fields))
    if op.type not in TYPES or type(op.time_ns) is not int:
        raise ValueError(f"type {op.type!r} at {op.time_ns!r}")
    return op
