"""Measurements that take hours go on where they were interrupted: a unit is a line in a file once it is done.

A line bears a fingerprint of the lab and of the folders that the measurement is about: what was seen of other
programs is no evidence of these, and is measured again.
"""

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from dsjq_lab import logbook

Unit = tuple[str | int, ...]
Found = dict[str, Any]  # what can be written as JSON


def measured(
    units: Sequence[Unit],
    measure: Callable[..., Found],
    book: Path | None,
    folders: Sequence[Path],
    jobs: int = 1,
) -> Iterator[tuple[Unit, Found]]:
    """Each unit with what `measure(*unit)` finds: first those in the book, then the others as they end."""
    mark = fingerprint(folders)
    entries = map(json.loads, logbook.whole_lines(book) if book and book.exists() else [])
    known = {tuple(entry["unit"]): entry["found"] for entry in entries if entry["fingerprint"] == mark}
    yield from ((unit, known[unit]) for unit in units if unit in known)
    left = [unit for unit in units if unit not in known]
    started_s = time.monotonic()
    with ProcessPoolExecutor(jobs) as pool:
        running = {pool.submit(measure, *unit): unit for unit in left}
        for count, done in enumerate(as_completed(running), 1):
            unit, found = running[done], done.result()
            if book:
                entry = {"fingerprint": mark, "unit": unit, "found": found}
                with book.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(entry) + "\n")
            each_s = (time.monotonic() - started_s) / count
            more = f"{len(units) - len(left) + count} of {len(units)}, {each_s:.1f} s each"
            print(f"{more}, {each_s * (len(left) - count) / 60:.0f} min left", file=sys.stderr, flush=True)
            yield unit, found


def fingerprint(folders: Sequence[Path]) -> str:
    files = [file for folder in folders for file in sorted(folder.rglob("*.*")) if file.suffix != ".pyc"]
    return hashlib.sha256(b"\0".join([logbook.fingerprint().encode(), *(file.read_bytes() for file in files)])
                          ).hexdigest()[:16]  # fmt: skip
