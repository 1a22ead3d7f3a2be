"""The space-time diagram, as plain SVG: time runs down, one lane a process, one row an event.

The rows are in order and evenly spaced, so that a millisecond with ten events is as clear as a second with
one; the gutter tells the real time, and where nothing happened for long. Everything is said in presentation
attributes and in words, since viewers drop style sheets and eyes differ in colours. Whatever stands in the
picture came from the system under study: it is spelled out, cut to its place, and escaped.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dsjq_lab.report.markup import cut, element, text
from dsjq_lab.report.trace import LOST, UNKNOWN, Band, Event, Message, Trace, gaps

ROW, GAP, LANE, GUTTER, TOP = 24, 20, 172, 96, 96  # px
LETTER = 6.3  # px, on average at the size of FONT
ROOM = int((LANE - 18) / LETTER)  # letters beside a lane
LAST_ROOM = 48  # letters beside the last one
FONT = {"font-family": "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif", "font-size": 11}
INK, FAINT, PAPER, LINE = "#1f2933", "#6b7785", "#ffffff", "#c3ccd6"
RED, AMBER, BROWN, GREEN = "#c81e1e", "#e0a030", "#8a5a00", "#15803d"
EVIDENCE = "#fdecec"  # the paper of a row that proves a violation
HALO: dict[str, Any] = {  # keeps words legible where an arrow passes behind them
    "stroke": PAPER, "stroke_width": 3, "paint_order": "stroke", "stroke_linejoin": "round"
}  # fmt: skip
PILLS = {  # paper and ink of each state
    "PENDING": ("#e8edf2", "#334155"), "IN_FLIGHT": ("#dbeafe", "#1e40af"), "DONE": ("#dcfce7", "#166534"),
    "FAILED": ("#ffedd5", "#9a3412"), "DEAD": ("#3f3f46", "#ffffff"), "DELAYED": ("#f3e8ff", "#6b21a8"),
}  # fmt: skip


def draw(trace: Trace, events: Sequence[Event], heading: str, notes: Mapping[int, str] | None = None) -> str:
    """These events as an SVG document. `notes` says what is wrong with an event, by its index."""
    return _Diagram(trace, events, notes or {}).svg(heading)


class _Diagram:
    def __init__(self, trace: Trace, events: Sequence[Event], notes: Mapping[int, str]) -> None:
        self.trace, self.events, self.notes = trace, events, notes
        shown = {event.lane for event in events}
        lanes = [lane for lane in trace.lanes if lane in shown]
        left = GUTTER + LANE  # there is room for words to the left of the first lane
        self.x = {lane: left + LANE * number for number, lane in enumerate(lanes)}
        self.pauses = gaps(events)
        self.y: dict[int, float] = {}
        bottom = float(TOP)
        for event, pause in zip(events, self.pauses, strict=True):
            bottom += ROW + (GAP if pause else 0)
            self.y[event.index] = bottom
        self.bottom = bottom + ROW
        self.times = [event.time_ns for event in events]
        self.last = lanes[-1] if lanes else ""
        beside = [len(cut(event.text, LAST_ROOM)) + len(notes.get(event.index, "")) for event in events
                  if event.lane == self.last]  # fmt: skip
        right = max(LANE / 2, max(beside, default=0) * LETTER + 56)
        noted = [
            self.x[event.lane] + (len(event.text) + len(notes[event.index]) + 4) * LETTER + 56
            + (LANE / 2 if event.state else 0)
            for event in events if notes.get(event.index)
        ]  # fmt: skip
        self.width = round(max(left + LANE * (len(lanes) - 1) + right, *noted, 620))
        self.parts: list[str] = []
        self.id = hashlib.sha256(repr((trace.title, events)).encode()).hexdigest()[:8]

    def svg(self, heading: str) -> str:
        for draw_layer in (self.rows, self.lanes, self.bands, self.messages, self.points, self.legend):
            draw_layer()
        height = round(self.bottom) + 40
        arrowhead = element(
            "marker", element("path", d="M0,0 L8,3.5 L0,7 z", fill=INK), id=f"tip-{self.id}",
            markerWidth=8, markerHeight=7, refX=8, refY=3.5, orient="auto", markerUnits="userSpaceOnUse",
        )  # fmt: skip
        return element(
            "svg",
            element("title", text(f"{heading} · {self.trace.title}")),
            element("desc", text(f"A space-time diagram of {len(self.events)} events: time runs down.")),
            element("defs", arrowhead),
            element("rect", width=self.width, height=height, fill=PAPER),
            label(16, 26, cut(heading, int(self.width / 9.6)), font_size=15, font_weight="bold"),
            label(16, 44, self.trace.title, fill=FAINT),
            *self.parts,
            xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {self.width} {height}", width=self.width,
            height=height, role="img", **FONT,
        )  # fmt: skip

    def add(self, name: str, *content: str, **attributes: Any) -> None:
        self.parts.append(element(name, *content, **attributes))

    # -- Layers, from the back to the front

    def rows(self) -> None:
        self.parts.append(label(GUTTER - 12, TOP, "ms", text_anchor="end", fill=FAINT))
        for event, pause in zip(self.events, self.pauses, strict=True):
            y = self.y[event.index]
            if event.index in self.notes:
                self.add("rect", x=0, y=y - ROW / 2, width=self.width, height=ROW, fill=EVIDENCE)
            if pause:
                wait = f"⋯ +{pause / 1e6:.0f} ms"
                middle = y - ROW / 2 - GAP / 2 + 4
                self.parts.append(label(GUTTER - 12, middle, wait, text_anchor="end", fill=FAINT))
            if event.measured:
                time_ms = f"{self.trace.seconds(event) * 1e3:.1f}"
                self.parts.append(label(GUTTER - 12, y + 4, time_ms, text_anchor="end"))

    def lanes(self) -> None:
        for lane, x in self.x.items():
            self.add("line", x1=x, y1=TOP, x2=x, y2=self.bottom, stroke=LINE, stroke_width=2)
            width = LETTER * len(lane) + 24
            self.add("rect", x=x - width / 2, y=TOP - 32, width=width, height=24, rx=5, fill=INK)
            self.parts.append(label(x, TOP - 16, lane, text_anchor="middle", fill=PAPER, font_weight="bold"))

    def bands(self) -> None:
        """The lane's line is overlaid where its process was not well."""
        for band, x, y1, y2 in self.unwell():
            said = element("title", text(f"{band.lane} {band.text}"))
            place = {"x1": x, "y1": y1, "x2": x, "y2": y2}
            if band.kind == "dead":
                self.add("line", **place, stroke=PAPER, stroke_width=4)
                self.add("line", said, **place, stroke=RED, stroke_width=3, stroke_dasharray="1 6",
                         stroke_linecap="round")  # fmt: skip
                if band.begin_ns > self.times[0] and band.begin_ns not in self.times:
                    self.parts.append(cross(x, y1, RED, 4))  # it died where no event of the picture is
            else:
                self.add("line", said, **place, stroke=AMBER, stroke_width=8, opacity=0.7)

    def unwell(self) -> Iterator[tuple[Band, float, float, float]]:
        """The bands that can be seen: x, and y from and to."""
        for band in self.trace.bands:
            y1, y2 = self.y_at(band.begin_ns), self.y_at(band.end_ns)
            if band.lane in self.x and y1 < y2:
                yield band, self.x[band.lane], y1, y2

    def messages(self) -> None:
        for message in self.trace.messages:
            if message.source in self.y and message.lane in self.x:
                if message.target is None:
                    self.stray(message)
                elif message.target in self.y:
                    self.arrow(message, message.target)

    def points(self) -> None:
        for event in self.events:
            x, y = self.x[event.lane], self.y[event.index]
            side = side_of(event, self.trace)
            start: float = x + side * 11
            if event.kind == "serve":
                self.served(event, x, y, side)
                continue
            ink = {"fault": RED, "hang": BROWN, "heal": GREEN}.get(event.kind, INK)
            if event.kind == "fault":
                self.parts.append(cross(x, y, RED, 6))
            elif event.kind == "hang":
                self.add("path", d=f"M{x - 3},{y - 6} v12 M{x + 3},{y - 6} v12", stroke=ink, stroke_width=3)
            else:
                self.add("circle", cx=x, cy=y, r=4, fill=ink if event.measured else PAPER, stroke=ink)
            if event.state:
                start += side * self.pill(event, start, y, side)
            self.words(event, start, y, side, fill=ink, font_weight="normal" if ink == INK else "bold")

    def served(self, event: Event, x: float, y: float, side: int) -> None:
        """At the broker, what the job became; elsewhere, what was said."""
        paper = INK if event.measured else PAPER
        self.add("circle", cx=x, cy=y, r=4, fill=paper, stroke=INK, stroke_width=1.5)
        if event.state:
            self.pill(event, x + side * 11, y, side)
        elif event.lane != "broker":
            self.words(event, x + side * 11, y, side)

    def pill(self, event: Event, x: float, y: float, side: int) -> float:
        """Its width."""
        paper, ink = PILLS[event.state]
        said = cut(f"{event.jobs[0]} {event.state}" if event.jobs else event.state, ROOM - 3)
        width = len(said) * LETTER + 14
        left = x if side > 0 else x - width
        shape = {"x": left, "y": y - 9, "width": width, "height": 18, "rx": 9}
        self.add("rect", **shape, fill=paper, stroke=ink, stroke_width=0.7)
        self.parts.append(label(left + width / 2, y + 4, said, text_anchor="middle", fill=ink))
        return width + 6

    def words(self, event: Event, x: float, y: float, side: int, **look: Any) -> None:
        said = cut(event.text, LAST_ROOM if event.lane == self.last else ROOM)
        anchor = "start" if side > 0 else "end"
        paper = EVIDENCE if event.index in self.notes else PAPER
        look = {**HALO, "stroke": paper, "text_anchor": anchor, **look}
        self.parts.append(label(x, y + 4, said, whole=self.story(event), **look))
        if note := self.notes.get(event.index, ""):
            self.add("path", d=f"M{self.width - 14},{y - 5} l-9,5 l9,5 z", fill=RED)
            look = HALO | {"stroke": EVIDENCE, "text_anchor": "end", "fill": RED}
            self.parts.append(label(self.width - 28, y + 4, note, **look))

    def legend(self) -> None:
        fates = {message.fate for message in self.trace.messages if message.source in self.y}
        kinds = {band.kind for band, *_ in self.unwell()}
        meanings = {
            "● seen": True,
            "○ somewhere between question and answer": not all(event.measured for event in self.events),
            "✕ lost": LOST in fates,
            "? arrived or not: nobody knows": UNKNOWN in fates,
            "red dots: dead": "dead" in kinds,
            "amber: alive, but hanging": "hung" in kinds,
        }
        said = " · ".join(meaning for meaning, occurs in meanings.items() if occurs)
        self.parts.append(label(16, self.bottom + 24, said, fill=FAINT))

    # -- Pieces

    def arrow(self, message: Message, target: int) -> None:
        x1, y1 = self.end_of(message.source)
        x2, y2 = self.end_of(target)
        inward = 6 if x2 < x1 else -6  # not under the point
        self.add(
            "line", element("title", text(message.text)), x1=x1, y1=y1, x2=x2 + inward, y2=y2,
            stroke=INK, stroke_width=1.2, marker_end=f"url(#tip-{self.id})",
        )  # fmt: skip

    def stray(self, message: Message) -> None:
        """Half the way, and then a cross, or a question."""
        x1, y1 = self.end_of(message.source)
        x2, y2 = (x1 + self.x[message.lane]) / 2, y1 + ROW * 0.6
        ink = RED if message.fate == LOST else BROWN
        said = element("title", text(f"{message.text}: {message.fate}"))
        line = {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "stroke": ink, "stroke_width": 1.2}
        self.add("line", said, **line, stroke_dasharray="5 3")
        if message.fate == LOST:
            self.parts.append(cross(x2, y2, ink, 5))
        else:
            look = HALO | {"text_anchor": "middle", "font_weight": "bold", "font_size": 15}
            self.parts.append(label(x2, y2 + 5, "?", fill=ink, **look))

    def end_of(self, index: int) -> tuple[float, float]:
        return self.x[self.trace.events[index].lane], self.y[index]

    def y_at(self, time_ns: int) -> float:
        """Where a moment lies among the rows: on that of its event, or between two."""
        row = bisect_left(self.times, time_ns)
        if row == len(self.times):
            return self.bottom
        y = self.y[self.events[row].index]
        return y if self.times[row] == time_ns else y - ROW / 2

    def story(self, event: Event) -> str:
        return f"{self.trace.seconds(event):.4f} s  {event.lane}: {event.text}"


def side_of(event: Event, trace: Trace) -> int:
    """Where its words stand: 1 for right, -1 for left. It is the side on which there is no message."""
    other = event.lane
    if event.kind == "ask":
        other = trace.sent[event.index].lane
    elif heard := trace.heard.get(event.index):
        other = trace.events[heard.source].lane
    if other == event.lane:
        return -1 if on_the_left(event.lane) else 1
    return 1 if trace.lanes.index(other) < trace.lanes.index(event.lane) else -1


def on_the_left(lane: str) -> bool:
    """Producers stand to the left of the broker, and their words to the left of them."""
    return lane.startswith("producer")


def cross(x: float, y: float, ink: str, size: int) -> str:
    d = f"M{x - size},{y - size} l{2 * size},{2 * size} M{x - size},{y + size} l{2 * size},{-2 * size}"
    return element("path", d=d, stroke=ink, stroke_width=2.4, stroke_linecap="round", fill="none")


def label(x: float, y: float, words: str, whole: str = "", **look: Any) -> str:
    """Words, and what a pointer that rests on them shows."""
    title = [element("title", text(whole))] if whole else []
    return element("text", *title, text(words), x=x, y=y, **{"fill": INK, **look})
