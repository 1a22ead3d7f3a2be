"""One folder per run, so that every run can be looked at, judged and told again.

runs/<scenario>/<timestamp>/ holds scenario.yaml as it was played, history.jsonl, logs/, and what the judge
adds. `latest` points to the newest. Old runs make room for new ones; a run that failed is never removed.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from dsjq_lab import __version__
from dsjq_lab.brokers import Broker, Dsjq
from dsjq_lab.conductor import Snapshot, conduct
from dsjq_lab.errors import LabError
from dsjq_lab.history import FORMAT, Header
from dsjq_lab.library import NotFound
from dsjq_lab.live import LiveWorld
from dsjq_lab.scenario import Scenario
from dsjq_lab.variation import AS_WRITTEN, Variation

KEPT = 20  # runs of one scenario
TOLERANCE_S = 1  # how late any broker may end a lease, or give a job back: docs/protocol.md


def play(
    scenario_path: Path,
    *,
    seed: int | None = None,
    broker: Broker | None = None,
    variation: Variation = AS_WRITTEN,
    on_progress: Callable[[Snapshot], None] = lambda snapshot: None,
) -> Path:
    """Plays a scenario on real processes; the folder of the run. Raises ScenarioErrors or LabError."""
    broker = broker or Dsjq()
    played = variation.load(scenario_path)
    if seed is not None:
        played = played.model_copy(update={"seed": seed})
    if why := unplayable(played, broker):
        raise LabError(f"{played.name} is not played with {broker.name}: {why}")
    ack_timeout_s = broker.ack_timeout_s(played.broker.ack_timeout_s)
    options = played.broker.model_copy(update={"ack_timeout_s": ack_timeout_s})
    played = played.model_copy(update={"broker": options})
    folder = new_folder(played.name)
    text = scenario_path.read_bytes()
    (folder / "scenario.yaml").write_bytes(text)
    header = Header(
        format=FORMAT,
        lab=__version__,
        scenario=played.name,
        scenario_hash=hashlib.sha256(text).hexdigest()[:16],
        seed=played.seed,
        broker=broker.name,
        start_ns=time.monotonic_ns(),
        ack_timeout_ns=round(played.broker.ack_timeout_s * 1e9),
        max_attempts=played.broker.max_attempts if broker.limits_attempts else None,
        finish_within_ns=round(played.finish_within_s * 1e9),
        backoff_ns=round(played.broker.backoff_s_max * 1e9),
        tolerance_ns=round(TOLERANCE_S * variation.time_scale * 1e9),
        durable=broker.is_durable(played.broker.store),
        gives_back_at_disconnect=broker.gives_back_at_disconnect,
        options=variation.options() | broker.options(),
        not_asked=dict(broker.not_asked),
    )
    with LiveWorld(folder, header, played, broker) as world:
        conduct(played, world, on_progress)
    return folder


def unplayable(played: Scenario, broker: Broker) -> str:
    """What the scenario asks for that is not to be had of this broker; empty if all is."""
    if played.topic and broker.lacks_topics:
        return f"it has no exchanges to bind to, since {broker.lacks_topics}"
    deaf = [fault.verb for fault in played.faults if fault.listens and broker.tongue is None]
    return f"a {deaf[0]} does not understand the language of its clients" if deaf else ""


def root() -> Path:
    return Path(os.environ.get("DSJQ_RUNS", "runs"))


def new_folder(name: str) -> Path:
    """An empty folder that is ours alone, also when two labs start in the same second."""
    parent = root() / name
    parent.mkdir(parents=True, exist_ok=True)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for folder in candidates(parent / stamp):
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        point_latest(root(), folder)
        point_latest(parent, folder)
        remove_old(parent)
        return folder
    raise AssertionError("unreachable")


def candidates(folder: Path) -> Iterator[Path]:
    yield folder
    number = 2
    while True:
        yield folder.with_name(f"{folder.name}-{number}")
        number += 1


def point_latest(parent: Path, folder: Path) -> None:
    """Replaces the link in one step: whoever follows it meanwhile finds the old run or the new one."""
    link = parent / f".latest-{os.getpid()}-{folder.name}"
    link.symlink_to(os.path.relpath(folder, parent), target_is_directory=True)
    link.replace(parent / "latest")


def remove_old(parent: Path) -> None:
    runs = sorted(folder for folder in parent.iterdir() if folder.is_dir() and not folder.is_symlink())
    for folder in runs[:-KEPT]:
        if passed(folder):
            shutil.rmtree(folder, ignore_errors=True)


def passed(folder: Path) -> bool:
    try:
        return bool(json.loads((folder / "results.json").read_text())["outcome"] == "pass")
    except (OSError, ValueError, KeyError):
        return False  # not judged yet, or perhaps still running


def find(text: str) -> Path:
    """The run that `text` names: a folder, "latest", or the latest of a scenario."""
    for folder in (Path(text), root() / text, root() / text / "latest"):
        if (folder / "history.jsonl").is_file():
            return folder.resolve()
    raise NotFound(f"no such run: {text}")
