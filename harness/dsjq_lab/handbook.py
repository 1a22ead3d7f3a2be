"""Each name of the lab is explained once, in the handbook, and `explain` reads it out from there.

A section of LAB.md explains an invariant, a fault or an event; a line of its glossary a word of the field; a
row in the last table of docs/protocol.md an error code. What may be written in a scenario file is said by the
models that read it (scenario_words.py).
"""

import re
from pathlib import Path
from typing import NamedTuple

from dsjq_lab.library import PACKAGE, NotFound, did_you_mean

KINDS = {"Invariants": "invariant", "Faults": "fault", "Events": "event"}  # by the first word of the chapter
CHAPTER = re.compile(r"^## (\w+).*\n", re.MULTILINE)
SECTION = re.compile(r"^### (\w+)\n+((?:(?!#).*\n)+)", re.MULTILINE)
WORD = re.compile(r"^- \*\*(.+?)\*\*: (.+(?:\n  .+)*)", re.MULTILINE)
ERROR = re.compile(r"^\| `([A-Z0-9_]+)` \| (.+) \|$", re.MULTILINE)


class Entry(NamedTuple):
    kind: str
    name: str
    text: str
    page: str


def explained(name: str) -> list[Entry]:
    """Most names mean one thing, but a kick is both a deed and a word."""
    everything = entries()
    if found := [entry for entry in everything if key(entry.name) == key(name)]:
        return found
    raise NotFound(f"nothing is called {name}{did_you_mean(name, [entry.name for entry in everything])}")


def entries() -> list[Entry]:
    found = []
    lab, protocol = document("LAB.md"), document("docs/protocol.md")
    for chapter, text in chapters(lab):
        if chapter in KINDS:
            found += [
                Entry(KINDS[chapter], name, text.strip(), f"LAB.md#{name}")
                for name, text in SECTION.findall(text)
            ]
        elif chapter == "Words":
            found += [Entry("word", name, text, "LAB.md#words") for name, text in WORD.findall(text)]
    errors = dict(chapters(protocol))["Errors"]
    found += [
        Entry("error", name, f"The broker answers this when {text}.", "docs/protocol.md#errors")
        for name, text in ERROR.findall(errors)
    ]
    from dsjq_lab import scenario_words  # takes its time, and only this needs it

    found += [
        Entry("scenario", word.path, f"In a file: {word.terms}. {said(word.says)}", "LAB.md#scenarios")
        for word in scenario_words.words()
    ]
    return found


def said(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


def chapters(page: str) -> list[tuple[str, str]]:
    """(first word of its heading, text) of each."""
    _, *parts = CHAPTER.split(page)
    return list(zip(parts[::2], parts[1::2], strict=True))


def document(name: str) -> str:
    """From the sources, or from the wheel."""
    places: list[Path] = [PACKAGE.parents[1] / name, PACKAGE / "library" / name]
    return next(place for place in places if place.is_file()).read_text(encoding="utf-8")


def key(name: str) -> str:
    return name.casefold().replace(" ", "_").replace("-", "_")
