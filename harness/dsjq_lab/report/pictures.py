"""A run's pictures as files: those that are kept beside it, and those that somebody asks for."""

import re
from pathlib import Path

from dsjq_lab.errors import UsageError
from dsjq_lab.history import no_garbage
from dsjq_lab.report import diagram, page, telling, view
from dsjq_lab.report.trace import Trace
from dsjq_lab.report.view import View
from dsjq_lab.results import Result


def keep(result: Result, run: Path) -> Trace:
    """Every run leaves trace.svg, what there is to see at a glance, and report.html, all of it."""
    trace = telling.trace(result.model)
    with no_garbage():
        (run / "trace.svg").write_text(svg(trace, view.of_run(result, trace)), encoding="utf-8")
        (run / "report.html").write_text(page.report(result, trace, run), encoding="utf-8")
    return trace


def svg(trace: Trace, shown: View) -> str:
    return diagram.draw(trace, shown.events, shown.heading, shown.notes)


NIGHT = {  # by day -> by night: papers dark, inks light
    diagram.PAPER: "#0d1117", diagram.INK: "#e6edf3", diagram.FAINT: "#9aa7b4", diagram.LINE: "#3d4651",
    diagram.EVIDENCE: "#3b1216", diagram.RED: "#ff7b72", diagram.BROWN: "#e3b341", diagram.GREEN: "#3fb950",
}  # fmt: skip


def by_night(drawing: str) -> str:
    """The same picture for a dark page. What a run said is never touched: it has no bare quotation marks."""
    return re.sub(r'(?<==")#[0-9a-f]{6}(?=")', lambda colour: NIGHT.get(colour[0], colour[0]), drawing)


def png(drawing: str) -> bytes:
    """An SVG as PNG, for viewers that have no SVG. Raises UsageError where the extra is not installed."""
    try:
        import resvg_py
    except ImportError:
        raise UsageError("PNG needs the extra `notebooks`: pip install 'dsjq-lab[notebooks]'") from None
    return bytes(resvg_py.svg_to_bytes(svg_string=drawing))


def write(path: Path, content: str | bytes) -> None:
    """Raises UsageError where no file can be."""
    try:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as problem:
        raise UsageError(f"cannot write {path}: {problem.strerror}") from problem
