"""Runs that were played, in a file: a thousand take hours, and an interrupted series goes on where it was.

A line is a run and what it was a run of: its words, its seed, and a fingerprint of all that it was played
with. When a line of the broker or of the lab has changed, so has the fingerprint: what was seen of another
program is evidence of that one, and the run is played again.
"""

import hashlib
import importlib.util
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from dsjq_lab import library
from dsjq_lab.repeat import Play, Run, played

Found = dict[str, Any]  # what an exploration tells as JSON


class Logbook:
    def __init__(self, path: Path | None = None) -> None:
        """Without a path, of nothing and for nobody."""
        self.path, self.fingerprint = path, fingerprint()
        self.known: dict[Play, Run] = {}
        self.explorations: dict[tuple[str, ...], Found] = {}  # by their words
        for entry in map(json.loads, whole_lines(path) if path and path.exists() else []):
            words = tuple(entry["words"])
            if entry["fingerprint"] == self.fingerprint and "run" in entry:
                self.known[Play(words, entry["seed"])] = Run(**entry["run"])
            elif entry["fingerprint"] == self.fingerprint:
                self.explorations[words] = entry["found"]

    def played(self, plays: Iterable[Play], jobs: int) -> Iterator[tuple[Play, Run]]:
        """First those that are in the book, then the others, as they end."""
        wanted = list(plays)
        yield from ((play, self.known[play]) for play in wanted if play in self.known)
        for play, run in played([play for play in wanted if play not in self.known], jobs):
            self.write(play, run)
            yield play, run

    def explored(self, words: tuple[str, ...], explore: Callable[[], Found]) -> Found:
        """What is in the book of that exploration; else what it finds now."""
        if words not in self.explorations:
            self.explorations[words] = found = explore()
            self.enter({"words": words, "found": found})
        return self.explorations[words]

    def write(self, play: Play, run: Run) -> None:
        self.known[play] = run
        self.enter({**play._asdict(), "run": run._asdict()})

    def enter(self, what: dict[str, Any]) -> None:
        if self.path is None:
            return
        entry = {"fingerprint": self.fingerprint, **what}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


def whole_lines(path: Path) -> list[bytes]:
    """What its writer did not live to finish is cut off."""
    *lines, torn = (data := path.read_bytes()).split(b"\n")
    os.truncate(path, len(data) - len(torn))
    return lines


def fingerprint() -> str:
    """Of the reference, the lab, the scenarios and the patients, as they are here."""
    reference = importlib.util.find_spec("dsjq")
    roots = [library.PACKAGE, *map(Path, (reference and reference.submodule_search_locations) or [])]
    files = [file for root in roots for file in sorted(root.rglob("*.py"))]
    files += [file for shelf in library.SUFFIX for file in library.contents(shelf).values()]
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:16]
