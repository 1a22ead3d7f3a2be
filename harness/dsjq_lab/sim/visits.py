"""Which lines of the broker's own file matter to a story: those passed before the proof, and seldom else.

A bug that needs no interruption has no deviation to tell it by. But of the lines that a thread passes in one
go, the one that is passed least often in the whole run says most about this occasion; and of the occasions
before something went wrong, those count that are rare themselves, and recent. (Fault localisation by how
often lines run, as in Tarantula: Jones, Harrold and Stasko, 2002; here within one run.)
"""

from collections import Counter
from typing import NamedTuple

COMMON = 3  # times as often passed as the rarest line: it tells nothing beside that


class Visit(NamedTuple):
    """A thread passes a line."""

    time_ns: int
    task: str
    spot: str  # "p01.py:24 _take"
    source: str


class Visits:
    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()  # by spot
        self.stretches: list[list[Visit]] = []  # each of one thread, without a switch in between
        self.latest: tuple[str, int] = ("", -1)

    def note(self, visit: Visit, switches: int) -> None:
        """`switches` is how many the run has had so far."""
        if self.latest != (visit.task, switches):
            self.latest = visit.task, switches
            self.stretches.append([])
        stretch = self.stretches[-1]
        if not stretch or stretch[-1].spot != visit.spot:  # a line may have several points
            self.counts[visit.spot] += 1
            stretch.append(visit)

    def telling(self, since_ns: int, until_ns: int | None, most: int) -> list[Visit]:
        """At most so many, in order of time. If there are none from `since_ns` on, then earlier ones.

        Until None: of what never came, so the last line before the end of the run is among them.
        """
        before = [each for each in self.stretches if until_ns is None or each[0].time_ns <= until_ns]
        between = [stretch for stretch in before if stretch[-1].time_ns >= since_ns]
        found = [self.rarest(stretch) for stretch in between or before]
        last = found[-1:] if until_ns is None else []
        found = list({(visit.task, visit.spot): visit for visit in found}.values())  # the last of each
        found.sort(key=lambda visit: (visit not in last, self.counts[visit.spot], -visit.time_ns))
        often = COMMON * min((self.counts[visit.spot] for visit in found), default=0)
        return sorted(visit for visit in found[:most] if visit in last or self.counts[visit.spot] < often)

    def rarest(self, stretch: list[Visit]) -> Visit:
        return min(reversed(stretch), key=lambda visit: self.counts[visit.spot])

    def last(self, tasks: list[str]) -> list[Visit]:
        """Where each of them stands in the end."""
        latest = {visit.task: visit for stretch in self.stretches for visit in stretch}
        return [latest[task] for task in tasks if task in latest]
