"""A broker in JavaScript is a black box like any other: it passes core scenarios, until it never requeues.

Needs node, which is skipped where it is missing, but not in CI.
"""

import os
import shutil
from pathlib import Path

import pytest
from playing import ROOT, scenario

from dsjq_lab import results, runs
from dsjq_lab.brokers import Command
from dsjq_lab.variation import Variation

SOURCE = ROOT / "tests" / "blackbox" / "broker.js"
OPTIONS = "--port {port} --ack-timeout {ack_timeout} --max-attempts {max_attempts}"
REQUEUE = "waiting.unshift(job.id); // requeue"
CORE = ["pop_and_die", "hung_worker", "zombie_ack", "poison_job", "worker_churn"]


@pytest.fixture(autouse=True)
def node() -> None:
    if shutil.which("node") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no node on PATH: apt-get install nodejs")


@pytest.mark.parametrize("name", CORE)
def test_it_passes_the_core_scenarios(name: str) -> None:
    broker = Command(f"node {SOURCE} {OPTIONS}")
    result = results.judged(runs.play(ROOT / "scenarios" / f"{name}.yaml", broker=broker))
    assert result.with_standing("violated", "absent") == []


def test_without_its_requeue_it_fails_them(tmp_path: Path) -> None:
    source = SOURCE.read_text()
    assert source.count(REQUEUE) == 1
    forgetful = tmp_path / "broker.js"
    forgetful.write_text(source.replace(REQUEUE, ";"))
    story = scenario(tmp_path, "[{when: {delivered: 2}, kill: that worker, restart_after: 50ms}]",
                     finish_within="8s")
    broker = Command(f"node {forgetful} {OPTIONS}")
    result = results.judged(runs.play(story, broker=broker, variation=Variation(("broker.ack_timeout=2s",))))
    assert result.outcome == "fail"
    violated = {ruling.verdict.invariant for ruling in result.with_standing("violated")}
    assert {"no_lost_job", "everything_finishes"} <= violated
