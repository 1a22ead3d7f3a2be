"""How fast it went, over the time of a run, and what the faults did to that: two small charts for the report.

Inline SVG whose colours are the page's (report.css), so that it follows the reader's light or dark. Times are
seconds since the start. Where two runs stand side by side, both are drawn to the larger scale.
"""

from collections.abc import Iterator, Sequence
from statistics import median
from typing import NamedTuple

from dsjq_lab.model import Model
from dsjq_lab.report.markup import element, text
from dsjq_lab.report.trace import Trace

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 180, 56, 12, 28, 26
BINS = 80


class Pace(NamedTuple):
    """What the charts show of a run."""

    seconds: float
    submitted: list[float]  # when each SUBMIT was confirmed
    done: list[tuple[float, float]]  # when each job was done, and how long after its SUBMIT was asked

    def fastest(self, bin_s: float) -> float:
        """The most that was done, or submitted, in one bin; a second's worth of it."""
        return max(*per_second(self.submitted, bin_s), *per_second([at for at, _ in self.done], bin_s), 1.0)

    @property
    def slowest(self) -> float:
        return max((latency for _, latency in self.done), default=0.0)


def pace(model: Model) -> Pace:
    start_ns = model.header.start_ns
    submitted, done = [], []
    for job in model.jobs.values():
        submitted += [(call.returned_ns - start_ns) / 1e9 for call in job.submits if call.outcome == "ok"]
        acked_ns = min((ack.returned_ns for ack in job.acks if ack.outcome == "ok"), default=None)
        if acked_ns is not None and job.submits:
            done.append(((acked_ns - start_ns) / 1e9, (acked_ns - job.submits[0].invoked_ns) / 1e9))
    last_ns = max((op.time_ns for op in model.ops), default=start_ns)
    return Pace(max((last_ns - start_ns) / 1e9, 0.001), sorted(submitted), sorted(done))


def charts(trace: Trace, shown: Pace, scale: Sequence[Pace]) -> str:
    """Throughput and latency of one run, to the scale of all of these."""
    seconds = max(each.seconds for each in scale)
    bin_s = seconds / BINS
    rate = _Chart("Throughput", "jobs a second", trace, seconds, max(each.fastest(bin_s) for each in scale))
    rate.line("submitted", per_second(shown.submitted, bin_s))
    rate.line("done", per_second([at for at, _ in shown.done], bin_s))
    delay = _Chart("Latency", "seconds from SUBMIT to done: the median of each moment, least and most",
                   trace, seconds, max(each.slowest for each in scale) or 1)  # fmt: skip
    delay.ranges(shown.done, bin_s)
    return rate.svg() + delay.svg()


def per_second(moments: Sequence[float], bin_s: float, bins_count: int = BINS) -> list[float]:
    bins = [0] * bins_count
    for moment in moments:
        bins[min(bins_count - 1, max(0, int(moment / bin_s)))] += 1
    return [count / bin_s for count in bins]


class _Chart:
    """One chart: its axes, the bands of the faults, and what is then drawn upon them."""

    def __init__(self, title: str, unit: str, trace: Trace, seconds: float, most: float) -> None:
        self.title, self.unit, self.seconds, self.most = title, unit, seconds, most
        self.parts = [*self.bands(trace), *self.axes()]
        self.legend: list[str] = []

    def x(self, at_s: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * min(1.0, max(0.0, at_s / self.seconds))

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / self.most

    def bands(self, trace: Trace) -> Iterator[str]:
        for band in trace.bands:
            left, right = (self.x((at_ns - trace.start_ns) / 1e9) for at_ns in (band.begin_ns, band.end_ns))
            said = element("title", text(f"{band.lane} {band.text}"))
            place = {"x": left, "y": TOP, "width": max(right - left, 1.0), "height": HEIGHT - TOP - BOTTOM}
            yield element("rect", said, class_=f"band {band.kind}", **place)

    def axes(self) -> Iterator[str]:
        for part, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
            y, value = self.y(part * self.most), part * self.most
            yield element("line", class_="grid", x1=LEFT, y1=y, x2=WIDTH - RIGHT, y2=y)
            yield element("text", f"{value:.3g}", x=LEFT - 8, y=y + 4, text_anchor="end")
            at_s = part * self.seconds
            yield element("text", f"{at_s:.3g} s", x=self.x(at_s), y=HEIGHT - 8, text_anchor=anchor)

    def line(self, name: str, values: Sequence[float]) -> None:
        """Steps: what is counted in a bin belongs to all of it."""
        bin_s = self.seconds / BINS
        ends = ((self.x(place * bin_s), self.y(values[number]))
                for number in range(len(values)) for place in (number, number + 1))  # fmt: skip
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in ends)
        self.parts.append(element("polyline", class_=f"series {name}", points=points))
        self.legend.append(element("tspan", f"— {name}  ", class_=name))

    def ranges(self, points: Sequence[tuple[float, float]], bin_s: float) -> None:
        bins: dict[int, list[float]] = {}
        for at_s, value in points:
            bins.setdefault(int(at_s / bin_s), []).append(value)
        for number, values in bins.items():
            x = self.x((number + 0.5) * bin_s)
            self.parts.append(
                element("line", class_="range", x1=x, y1=self.y(min(values)), x2=x, y2=self.y(max(values)))
            )
            self.parts.append(element("circle", class_="median", cx=x, cy=self.y(median(values)), r=2.5))

    def svg(self) -> str:
        return element(
            "svg",
            element("title", f"{self.title}, {self.unit}"),
            element("text", element("tspan", self.title, class_="name"), f"  {self.unit}  ", *self.legend,
                    x=LEFT, y=16),
            *self.parts,
            viewBox=f"0 0 {WIDTH} {HEIGHT}", class_="chart", role="img",
        )  # fmt: skip
