"""The space-time diagram once more, in plain ASCII, for terminals and logs: a line an end of a message.

      ms            producer 1           broker            worker 1
   210.5       SUBMIT j3 |----------------->|                  |
   210.8        JOB_ID 3 |<-----------------| j3 PENDING       |
   230.4                 |                  |<-----------------| RESERVE
   230.6                 |     j3 IN_FLIGHT |----------------->| JOB 3 attempt 1

The line of a lane is `|`, of a dead process `:`, of a hanging one `!`. A message that was lost ends in `x`,
and in `?` if nobody knows. Words stand where the SVG has them (diagram.py).
"""

from collections.abc import Iterator, Mapping, Sequence

from dsjq_lab.report.diagram import on_the_left, side_of
from dsjq_lab.report.markup import cut
from dsjq_lab.report.plain import visible
from dsjq_lab.report.trace import DELIVERED, LOST, Event, Message, Trace, gaps

GUTTER, LANE = 9, 19  # letters
ROOM, LAST_ROOM = LANE - 3, 32  # letters beside a lane, and beside the last one
LINES = {"dead": ":", "hung": "!"}
POINTS = {"fault": "X", "hang": "=", "heal": "o", "clock": "o"}


def draw(trace: Trace, events: Sequence[Event], notes: Mapping[int, str] | None = None) -> Iterator[str]:
    """These events, line by line. `notes` says what is wrong with an event, by its index."""
    return _Ladder(trace, events, notes or {}).lines()


class _Ladder:
    def __init__(self, trace: Trace, events: Sequence[Event], notes: Mapping[int, str]) -> None:
        self.trace, self.events, self.notes = trace, events, notes
        shown = {event.lane for event in events}
        lanes = [lane for lane in trace.lanes if lane in shown]
        self.last = lanes[-1] if lanes else ""
        left = GUTTER + (ROOM + 1 if lanes and on_the_left(lanes[0]) else 2)
        self.column = {lane: left + LANE * number for number, lane in enumerate(lanes)}

    def lines(self) -> Iterator[str]:
        head = [" "] * (max(self.column.values(), default=0) + LANE)
        put(head, GUTTER - 2, "ms", -1)
        for lane, column in self.column.items():
            put(head, column - len(cut(lane, ROOM)) // 2, cut(lane, ROOM), 1)
        yield "".join(head).rstrip()
        served: Event | None = None  # its answer comes next, and tells of both
        following = [*self.events[1:], None]
        for event, later, pause in zip(self.events, following, gaps(self.events), strict=True):
            if pause:
                yield f"{f'+{pause / 1e6:.0f} ms':>{GUTTER - 1}}"
            answer = self.trace.sent.get(event.index)
            if event.kind == "serve" and answer and later and answer.target == later.index:
                served = event
                continue
            yield self.line(event, served)
            if note := self.notes.get(event.index):
                yield f"{'':{GUTTER}}<-- {visible(note)}"
            served = None

    def line(self, event: Event, served: Event | None) -> str:
        """One event; and what the job became by it, if the answer was given just before."""
        line = [" "] * (max(self.column.values()) + LAST_ROOM + 2)
        for lane, column in self.column.items():
            line[column] = self.lane_at(lane, event.time_ns)
        if event.measured:
            put(line, GUTTER - 2, f"{self.trace.seconds(event) * 1e3:.1f}", -1)
        side = side_of(event, self.trace)
        here = self.column[event.lane]
        passing = self.trace.heard if event.kind == "hear" else self.trace.sent
        message = passing.get(event.index)
        if message and (event.kind != "serve" or message.fate != DELIVERED):
            self.arrow(line, message)
        line[here] = POINTS.get(event.kind, line[here])
        state = served or event
        if state.state:
            away = -1 if state.kind == "clock" else side_of(state, self.trace)
            words = cut(f"{' '.join(state.jobs)} {state.state}", ROOM)
            put(line, self.column[state.lane] + 2 * away, words, away)
        if event.kind != "serve" or event.lane != "broker":
            put(line, here + 2 * side, cut(event.text, LAST_ROOM if event.lane == self.last else ROOM), side)
        return "".join(line).rstrip() + ("  <--" if event.index in self.notes else "")

    def arrow(self, line: list[str], message: Message) -> None:
        """From lane to lane; half the way, if it did not arrive."""
        start, end = self.column[self.trace.events[message.source].lane], self.column.get(message.lane)
        if end is None:
            return
        step = 1 if end > start else -1
        if message.fate != DELIVERED:
            end = start + (end - start) // 2
        for column in range(start + step, end, step):
            line[column] = "-" if line[column] == " " else line[column]
        tips = {DELIVERED: ">" if step > 0 else "<", LOST: "x"}
        line[end - step] = tips.get(message.fate, "?")

    def lane_at(self, lane: str, time_ns: int) -> str:
        for band in self.trace.bands:
            if band.lane == lane and band.begin_ns <= time_ns < band.end_ns:
                return LINES[band.kind]
        return "|"


def put(line: list[str], column: int, words: str, side: int) -> None:
    """Words that begin, or with side -1 end, at this column."""
    start = column if side > 0 else column - len(words) + 1
    for place, letter in enumerate(words, start):
        if 0 <= place < len(line):
            line[place] = letter
