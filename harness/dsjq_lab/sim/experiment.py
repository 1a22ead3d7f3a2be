"""One scenario, played once under one strategy, and judged: the unit of which exploring is made."""

import gc
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import dsjq
from dsjq_lab import __version__
from dsjq_lab.brokers import Broker, Dsjq
from dsjq_lab.checkers import judge
from dsjq_lab.conductor import conduct
from dsjq_lab.history import FORMAT, Header, History
from dsjq_lab.model import Model
from dsjq_lab.results import Result, deviations, doubts, rule
from dsjq_lab.scenario import Scenario
from dsjq_lab.sim.detectors import Detectors
from dsjq_lab.sim.kernel import START_NS, Kernel
from dsjq_lab.sim.loader import Loader
from dsjq_lab.sim.schedule import Replay, Strategy
from dsjq_lab.sim.strategies import Default, Seeded
from dsjq_lab.sim.tasks import Deviation, Endless, Stuck
from dsjq_lab.sim.world import SimWorld
from dsjq_lab.variation import AS_WRITTEN, Variation
from dsjq_lab.verdict import UNKNOWN, VIOLATED, Verdict

NEED_HEALTH = {"effect_once"}  # what a machine that stands still for longer than a lease breaks by itself
COLLECT_EVERY = 100  # runs; between them no garbage is collected, lest finalizers run at moments of their own


class Run(NamedTuple):
    """What came of it."""

    kernel: Kernel
    world: SimWorld
    result: Result | None  # None: the run did not come to its end
    failures: tuple[str, ...]  # names of what is certainly wrong, the gravest first; empty if nothing is

    @property
    def outcome(self) -> str:
        """fail, unknown or pass. That something expected is absent from one interleaving proves nothing."""
        unknown = self.result is not None and self.result.outcome == UNKNOWN
        return "fail" if self.failures else "unknown" if unknown else "pass"

    @property
    def schedule(self) -> list[Deviation]:
        return self.kernel.deviations

    @property
    def digest(self) -> str:
        """Of the course of events, to the byte: every switch, at its point and its time, and every report."""
        told = [op.line() for op in self.world.ops]
        printed = [(process.name, process.output) for process in self.kernel.processes]
        whole = json.dumps([self.kernel.trail, told, printed])
        return hashlib.sha256(whole.encode()).hexdigest()[:16]


class Experiment:
    """A scenario and a broker, ready to be played again and again."""

    def __init__(
        self,
        scenario: Scenario,
        broker: Broker | None = None,
        loader: Loader | None = None,
        variation: Variation = AS_WRITTEN,
    ) -> None:
        """`variation` is what the scenario departs from its file in: for the header."""
        self.variation = variation
        self.scenario, self.broker = scenario, broker or Dsjq()
        self.loader = loader or self.new_loader()
        self.runs = 0

    def new_loader(self, *, accesses: bool = False) -> Loader:
        file = getattr(self.broker, "file", None)
        home = Path(dsjq.__file__).parent.parent
        return Loader([home, *([file.resolve().parent] if file else [])], accesses=accesses)

    def warnings(self) -> list[str]:
        """What the detectors see in one dull run: races and inverted lock orders that did no harm in it."""
        watched = Experiment(self.scenario, self.broker, self.new_loader(accesses=True))
        detectors = Detectors()
        watched.play(Default(0), detectors)
        return [*detectors.races, *detectors.inversions]

    def varied(self, scenario: Scenario) -> "Experiment":
        return Experiment(scenario, self.broker, self.loader, self.variation)

    def play(self, strategy: Strategy, watcher: Any = None) -> Run:
        self.runs += 1
        if self.runs % COLLECT_EVERY == 0:
            gc.collect()
        kernel = Kernel(strategy)
        kernel.watcher = watcher
        if isinstance(strategy, Seeded):
            strategy.late_ns_max = round(self.scenario.broker.ack_timeout_s * 1e9 / 8)
        world = SimWorld(kernel, self.loader, self.scenario, self.broker)
        try:
            kernel.run(lambda: conduct(self.scenario, world))
        except (Stuck, Endless) as end:
            return Run(kernel, world, None, (type(end).__name__.lower(),))
        result = self.judge(world)
        return Run(kernel, world, result, tuple(failures(result)))

    def replay(self, schedule: Iterable[Deviation]) -> Run:
        return self.play(Replay(schedule))

    def header(self) -> Header:
        scenario = self.scenario
        return Header(
            format=FORMAT,
            lab=__version__,
            scenario=scenario.name,
            scenario_hash="",
            seed=scenario.seed,
            broker=self.broker.name,
            start_ns=START_NS,
            ack_timeout_ns=round(scenario.broker.ack_timeout_s * 1e9),
            max_attempts=scenario.broker.max_attempts if self.broker.limits_attempts else None,
            finish_within_ns=round(scenario.finish_within_s * 1e9),
            backoff_ns=round(scenario.broker.backoff_s_max * 1e9),
            durable=self.broker.is_durable(scenario.broker.store),
            options=self.variation.options() | ({"core": True} if self.broker.core else {}),
        )

    def judge(self, world: SimWorld) -> Result:
        ops = sorted(world.ops, key=lambda op: op.time_ns)
        model = Model(History(self.header(), ops, False))
        verdicts = [excused(verdict, model) for verdict in judge(model)]
        rulings = rule(verdicts, deviations(self.scenario.expect, model.header))
        return Result(self.scenario, model, rulings, doubts(self.scenario, model, rulings))


def excused(verdict: Verdict, model: Model) -> Verdict:
    """A worker that stood still for longer than its lease may break what needs no fault of the broker."""
    end = model.end
    if verdict.status != VIOLATED or verdict.invariant not in NEED_HEALTH:
        return verdict
    if end and 4 * end.epsilon_ns < model.header.ack_timeout_ns:
        return verdict
    return verdict._replace(status=UNKNOWN, summary=f"{verdict.summary}, but somebody stood still too long")


def failures(result: Result) -> Iterable[str]:
    """A circle of locks explains what it breaks, so it comes first; then what the scenario asks about."""
    seen = {op.f for op in result.model.ops if op.process == "lab"}
    violated = [ruling.verdict.invariant for ruling in result.with_standing(VIOLATED)]
    yield from {"deadlock"} & seen
    yield from sorted(violated, key=lambda name: name not in result.scenario.focus)
    yield from {"thread_died"} & seen
