"""`pytest scenarios/ -n auto`: a scenario is a test, and its verdict is the failure.

Every pytest on this machine loads this file, whether or not it has to do with job queues: so it imports
nothing that takes time, and touches no file but those that say that they are scenarios.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from dsjq_lab.results import Result
    from dsjq_lab.sim.explore import Exploration

# Its value is the version of the format. (Other tools have files with this key too, and a mapping under it.)
SCENARIO_KEY = re.compile(r"^scenario:[ \t]*[^\s#]", re.MULTILINE)
BEGINNING = 4000  # letters


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("dsjq", "scenarios of DSJQ Lab")
    group.addoption("--dsjq-broker", metavar="FILE.py", help="the broker under study")
    group.addoption("--dsjq-broker-cmd", metavar="COMMAND", help="any program that speaks the four commands")
    group.addoption("--dsjq-seeds", metavar="N", type=int, default=1, help="play each with N seeds")
    group.addoption("--dsjq-without-faults", action="store_true", help="as controls")
    group.addoption("--dsjq-explore", metavar="N", type=int, help="explore each in N runs instead")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> "ScenarioFile | None":
    if file_path.suffix == ".yaml" and is_scenario(file_path):
        return ScenarioFile.from_parent(parent, path=file_path)
    return None


def is_scenario(path: Path) -> bool:
    """By its beginning. A file that cannot be read is somebody else's trouble."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return bool(SCENARIO_KEY.search(file.read(BEGINNING)))
    except OSError:
        return False


class ScenarioFile(pytest.File):
    def collect(self) -> Iterator["ScenarioTest | ExploredTest"]:
        from dsjq_lab import brokers, scenario
        from dsjq_lab.errors import UsageError

        option = self.config.getoption
        try:
            first_seed = scenario.load(self.path).seed
            brokers.under_study(option("dsjq_broker"), option("dsjq_broker_cmd"))
        except (scenario.ScenarioErrors, UsageError) as mistakes:
            raise self.CollectError(str(mistakes)) from None
        if option("dsjq_explore"):
            if option("dsjq_broker_cmd"):
                raise self.CollectError("a broker that is started by a command cannot be explored")
            yield ExploredTest.from_parent(self, name=f"{self.path.stem}[explored]")
            return
        for seed in range(first_seed, first_seed + option("dsjq_seeds")):
            yield ScenarioTest.from_parent(self, name=f"{self.path.stem}[seed{seed}]", seed=seed)


class ScenarioTest(pytest.Item):
    def __init__(self, *, seed: int, **fixed: Any) -> None:
        super().__init__(**fixed)
        self.seed = seed

    def runtest(self) -> None:
        from dsjq_lab import brokers, runs
        from dsjq_lab.report import pictures
        from dsjq_lab.results import judged
        from dsjq_lab.variation import Variation

        option = self.config.getoption
        broker = brokers.under_study(option("dsjq_broker"), option("dsjq_broker_cmd"))
        variation = Variation(without_faults=option("dsjq_without_faults"))
        folder = runs.play(self.path, seed=self.seed, broker=broker, variation=variation)
        result = judged(folder)
        pictures.keep(result, folder)
        if result.outcome != "pass":
            raise NotAsExpected(result, folder)

    def repr_failure(self, failure: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The verdict as at the terminal, and no traceback: the code that failed is not the lab's."""
        from dsjq_lab.errors import LabError

        match failure.value:
            case NotAsExpected(result=result, folder=folder):
                from dsjq_lab.report.plain import visible
                from dsjq_lab.report.terminal import render

                return "\n".join(map(visible, render(result, folder)))
            case LabError() as error:
                return f"no verdict: {error}"
        return super().repr_failure(failure, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, self.name


class ExploredTest(pytest.Item):
    """The scenario in the explored world: the failure is the shortest story that was found."""

    def runtest(self) -> None:
        from dsjq_lab.sim import explore

        option = self.config.getoption
        broker = option("dsjq_broker")
        words = [str(self.path), "--runs", str(option("dsjq_explore")), "--jobs", "1"]
        words += ["--broker", broker] if broker else []
        words += ["--without-faults"] if option("dsjq_without_faults") else []
        exploration = explore.Exploration(explore.as_asked(*words, quiet=True))
        exploration.run()
        if exploration.broken or exploration.outcome()[0] != "pass":
            raise NotPassed(exploration)

    def repr_failure(self, failure: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        from dsjq_lab.report.plain import visible
        from dsjq_lab.sim.explore import render

        match failure.value:
            case NotPassed(exploration=exploration) if exploration.broken:
                return f"no verdict: {exploration.broken}"
            case NotPassed(exploration=exploration):
                return "\n".join(map(visible, render(exploration, exploration.outcome()[0])))
        return super().repr_failure(failure, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, self.name


class NotPassed(Exception):
    def __init__(self, exploration: "Exploration") -> None:
        super().__init__(exploration.outcome()[0])
        self.exploration = exploration


class NotAsExpected(Exception):
    def __init__(self, result: "Result", folder: Path) -> None:
        super().__init__(f"{result.outcome}: {folder}")
        self.result, self.folder = result, folder
