"""What one sees while an experiment runs: a line a process at a terminal, an occasional line elsewhere.

Progress goes to stderr, so that stdout is the result and nothing else.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Group

    from dsjq_lab.conductor import Snapshot

INTERVAL_S = 1.0  # of the plain lines; a strike is told at once
COLOURS = {"busy": "green", "paused": "yellow", "stuck": "yellow", "slowed": "yellow", "ended": "red"}


@contextmanager
def shown(plain: bool, *, unseen: bool = False) -> Iterator[Callable[["Snapshot"], None]]:
    """What to call with each snapshot, in order to show it."""
    if unseen:
        yield lambda snapshot: None
        return
    if plain or not sys.stderr.isatty():
        yield Plain().show
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True), transient=True, auto_refresh=False) as live:
        yield lambda snapshot: live.update(board(snapshot), refresh=True)


class Plain:
    """Lines that are only appended: for logs, for screen readers, and for terminals that are none."""

    def __init__(self) -> None:
        self.next_s, self.strike = 0.0, ""

    def show(self, snapshot: "Snapshot") -> None:
        news = snapshot.latest_strike if snapshot.latest_strike != self.strike else ""
        if news or snapshot.seconds >= self.next_s:
            line = f"{snapshot.seconds:6.1f} s  {jobs(snapshot)}  {news}".rstrip()
            print(line, file=sys.stderr, flush=True)
            self.next_s, self.strike = snapshot.seconds + INTERVAL_S, snapshot.latest_strike


def board(snapshot: "Snapshot") -> "Group":
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    lines = Table.grid(padding=(0, 2))
    for name, (state, job) in snapshot.processes.items():
        lines.add_row(Text(name), Text(state, COLOURS.get(state, "")), Text(f"job {job}" if job else ""))
    return Group(lines, Text(f"{snapshot.seconds:.1f} s  {jobs(snapshot)}  {snapshot.latest_strike}"))


def jobs(snapshot: "Snapshot") -> str:
    return ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in snapshot.counts.items())
