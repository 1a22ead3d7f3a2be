"""A run as a value, for notebooks: it shows itself, and its history and jobs are tables.

    from dsjq_lab import explore, load_run, run
    churn = run("worker_churn", seed=7)     # plays it on real processes, and judges it
    churn                                   # the picture of what matters in it
    churn.job("j8")                         # of one job
    churn.jobs                              # a pandas frame: a row a job
    run("worker_churn", "workers.count=1")  # with a change, as --set makes it
    explore("worker_churn", runs=100)       # plays it simulated, in so many interleavings

Pictures come as SVG, as text and, with the extra `notebooks`, as PNG: so each viewer shows one that it can.
"""

import base64
import json
import subprocess
import sys
from contextlib import suppress
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

from dsjq_lab import brokers, library, results, runs
from dsjq_lab.errors import LabError, UsageError
from dsjq_lab.report import ladder, pictures, telling, terminal, view
from dsjq_lab.report.charts import pace, per_second
from dsjq_lab.report.page import JOB_COLUMNS, job_rows
from dsjq_lab.report.plain import visible
from dsjq_lab.report.trace import Trace
from dsjq_lab.report.view import View
from dsjq_lab.variation import Variation

PLOT_BINS = 20  # of a run, so that a few dozen jobs make a curve and no comb


def run(
    scenario: str,
    *changes: str,
    seed: int | None = None,
    broker: str | None = None,
    command: str | None = None,
    without_faults: bool = False,
) -> "Run":
    """Plays a scenario, by its name or file, against the reference, a broker file or a command line.

    `changes` depart from the file, as `--set` does: "load.jobs=5", "expect=[]".
    Raises ScenarioErrors and LabError.
    """
    path = library.find("scenarios", scenario)
    variation = Variation(changes, without_faults)
    studied = brokers.under_study(broker, command)
    played = Run(runs.play(path, seed=seed, broker=studied, variation=variation))
    pictures.keep(played.result, played.folder)
    return played


def explore(
    scenario: str, *, broker: str | None = None, runs: int = 100, seed: int = 0, strategy: str = "mix"
) -> "Exploration":
    """Plays a scenario simulated, in `runs` interleavings or until one fails. The same words find the same.

    Raises LabError, also for what is no scenario and no broker, with what `dsjq-lab explore` says about it.
    """
    options = {"runs": runs, "seed": seed, "strategy": strategy, "jobs": 1}
    words = [f"--{name}={value}" for name, value in options.items()] + ["--json"]
    words += ["--broker", broker] if broker else []
    command = [sys.executable, "-m", "dsjq_lab", "explore", scenario, *words]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    if not told.stdout:
        raise LabError(told.stderr.strip())
    return Exploration(json.loads(told.stdout))


def load_run(name: str = "latest") -> "Run":
    """A stored run: a folder, "latest", or the latest of a scenario."""
    return Run(runs.find(name))


class Picture:
    """Part of a run, that shows itself."""

    def __init__(self, trace: Trace, shown: View) -> None:
        self.trace, self.shown = trace, shown

    def svg(self) -> str:
        return pictures.svg(self.trace, self.shown)

    def __repr__(self) -> str:
        lines = ladder.draw(self.trace, self.shown.events, self.shown.notes)
        return "\n".join([visible(self.shown.heading), "", *lines])

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        drawing = self.svg()
        bundle = {"text/plain": repr(self), "image/svg+xml": drawing}
        with suppress(UsageError):  # the extra is not installed; the others will do
            bundle["image/png"] = base64.b64encode(pictures.png(drawing)).decode()
        return bundle


class Run:
    """One run that was played and judged."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.result = results.judged(folder)

    @property
    def outcome(self) -> str:
        return self.result.outcome

    @cached_property
    def trace(self) -> Trace:
        return telling.trace(self.result.model)

    @property
    def picture(self) -> Picture:
        """What matters most: the first violation or, where there is none, the jobs that faults hit."""
        return Picture(self.trace, view.of_run(self.result, self.trace))

    def job(self, name: str) -> Picture:
        """The life of one job, by our name for it ("j8") or the broker's ("8")."""
        return Picture(self.trace, view.of_job(name, self.trace))

    def around(self, op: int) -> Picture:
        """What went on around an operation, by its place in the history."""
        return Picture(self.trace, view.around(op, self.trace))

    @cached_property
    def verdicts(self) -> Any:
        """A row an invariant."""
        rows = [(r.verdict.invariant, r.standing, r.verdict.summary) for r in self.result.rulings]
        return frame(["invariant", "standing", "summary"], rows)

    def standing(self, invariant: str) -> str:
        """What one invariant came to: "holds", "violated", "expected" … Raises KeyError."""
        return {ruling.verdict.invariant: ruling.standing for ruling in self.result.rulings}[invariant]

    @cached_property
    def history(self) -> Any:
        """A row an operation, in the order of time, which is counted in seconds from the start."""
        model = self.result.model
        rows = [
            ((op.time_ns - model.header.start_ns) / 1e9, op.process, op.type, op.f, op.value, op.error)
            for op in model.ops
        ]
        return frame(["time_s", "process", "type", "f", "value", "error"], rows)

    @cached_property
    def jobs(self) -> Any:
        """A row a job."""
        return frame(JOB_COLUMNS, list(job_rows(self.result)))

    @cached_property
    def deliveries(self) -> Any:
        """A row a delivery, in the order of time."""
        model = self.result.model
        rows = [
            ((given.returned_ns - model.header.start_ns) / 1e9, job.nonce, given.call.process, given.attempt)
            for job in model.jobs.values()
            for given in job.deliveries
        ]
        return frame(["time_s", "job", "worker", "attempt"], sorted(rows, key=lambda row: row[0]))

    def plot(self) -> Any:
        """Throughput and latency over time, with the faults behind them: a figure of matplotlib."""
        plt = needed("matplotlib.pyplot")
        own = pace(self.result.model)
        bin_s = own.seconds / PLOT_BINS
        figure, (rate, delay) = plt.subplots(2, 1, sharex=True, figsize=(8, 4.5), layout="constrained")
        for name, moments in (("submitted", own.submitted), ("done", [at for at, _ in own.done])):
            values = per_second(moments, bin_s, PLOT_BINS)
            rate.step([bin_s * number for number in range(len(values))], values, where="post", label=name)
        delay.plot(*zip(*own.done, strict=True) if own.done else ([], []), ".", color="tab:green")
        for axes, unit in ((rate, "jobs a second"), (delay, "seconds to done")):
            axes.set_ylabel(unit)
            for band in self.trace.bands:
                since, until = ((at - self.trace.start_ns) / 1e9 for at in (band.begin_ns, band.end_ns))
                axes.axvspan(since, until, color={"dead": "tab:red"}.get(band.kind, "tab:orange"), alpha=0.2)
        rate.legend()
        delay.set_xlabel("seconds")
        plt.close(figure)  # the notebook shows what is returned, and not twice
        return figure

    def __repr__(self) -> str:
        return "\n".join(map(visible, terminal.render(self.result, self.folder)))

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return self.picture._repr_mimebundle_() | {"text/plain": repr(self)}


class Exploration:
    """What came of exploring; the first failure was shrunk, and is a run."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.outcome: str = told["outcome"]
        self.runs: int = told["runs"]
        self.different: int = told["distinct"]
        self.refused: str = told["refused"]
        self.violated: list[str] = [name for failure in told["failures"] for name in failure["names"]]
        self.story: list[str] = [line for failure in told["failures"] for line in failure["story"]]
        folders = [failure["folder"] for failure in told["failures"] if "folder" in failure]
        self.failing = load_run(folders[0]) if folders else None

    def __repr__(self) -> str:
        end = f"{self.outcome.upper()} in {self.runs} runs, {self.different} of them different"
        return "\n".join(map(visible, [*self.story, *[self.refused] * bool(self.refused), end]))


def predicted(prediction: object, seen: object) -> str:
    """Compares what a reader predicted (... if nothing yet) with what was seen."""
    if prediction is ...:
        return f"You have not predicted anything. It was {seen}."
    if prediction == seen:
        return f"As you predicted: {seen}."
    return f"You predicted {prediction}. It was {seen}."


def frame(columns: list[str], rows: list[Any]) -> Any:
    return needed("pandas").DataFrame(rows, columns=columns)


def needed(module: str) -> Any:
    """Raises UsageError where the extra is not installed."""
    try:
        return import_module(module)
    except ImportError:
        name = module.partition(".")[0]
        raise UsageError(f"this needs {name}: pip install 'dsjq-lab[notebooks]'") from None
