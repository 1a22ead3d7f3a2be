"""Golden scripts: each command of golden/*.txt, then the reply and the records it must lead to.

    @1.5 w1 RESERVE     at 1.5 s, holder 1 says RESERVE (DISCONNECT: its connection ends)
    @12                 time passes until 12 s
    * Delivered(...)    a record that time or the command above brought about, without what is at its default
    < RESERVED ...      the reply

Every queue here has an ack timeout of 10 s and a limit of 3 attempts.
`python tests/test_golden.py` writes them anew: read what has changed.
"""
from collections.abc import Iterator
from pathlib import Path

import pytest

from dsjq.lifecycle import Queue, apply, decide, due
from dsjq.messages import Disconnect, Record
from dsjq.text import decode_command, encode_reply

SCRIPTS = sorted(Path(__file__).parent.glob("golden/*.txt"))


def replay(script: str) -> str:
    """The script with everything recomputed that is not a command or a comment."""
    queue = Queue(ack_timeout_s=10.0, max_attempts=3)
    lines: list[str] = []
    for line in script.splitlines():
        if not line.startswith(("*", "<")):
            lines.append(line)
        if line.startswith("@"):
            lines.extend(_trace(queue, *line[1:].split(" ", 2)))
    return "\n".join(lines) + "\n"


def _trace(queue: Queue, time: str, who: str = "", words: str = "") -> Iterator[str]:
    now = float(time)
    yield from _due(queue, now)
    if who:
        command = Disconnect() if words == "DISCONNECT" else decode_command(words.encode())
        reply, records = decide(queue, command, int(who[1:]), now)
        yield "< " + encode_reply(reply).decode().removesuffix("\n")
        for record in records:
            yield _happen(queue, record)
        yield from _due(queue, now)


def _due(queue: Queue, now: float) -> Iterator[str]:
    while record := due(queue, now):
        yield _happen(queue, record)


def _happen(queue: Queue, record: Record) -> str:
    apply(queue, record)
    given = (f"{name}={value!r}" for name, value in record._asdict().items()
             if value != record._field_defaults.get(name))
    return f"* {type(record).__name__}({', '.join(given)})"


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_golden(path: Path) -> None:
    script = path.read_text()
    assert replay(script) == script


def test_every_script_is_found() -> None:
    assert len(SCRIPTS) >= 17


if __name__ == "__main__":
    for path in SCRIPTS:
        path.write_text(replay(path.read_text()))
