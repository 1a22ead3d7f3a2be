"""Many runs in a row or side by side, and labs that know nothing of one another."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from dsjq_lab.processes import wait_until
from dsjq_lab.repeat import Run, Series

PATIENCE_S = 120
SCENARIO = """\
scenario: 1
title: A test
story: A test.
broker: {ack_timeout: 1s}
load: {jobs: 4}
workers: {count: 2}
"""


@pytest.fixture
def story(tmp_path: Path) -> Path:
    path = tmp_path / "story.yaml"
    path.write_text(SCENARIO)
    return path


def start(*words: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "dsjq_lab", "run", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(lab: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = lab.communicate(timeout=PATIENCE_S)
    return lab.returncode, out, err


def header(folder: Path) -> dict[str, Any]:
    with (folder / "history.jsonl").open() as history:
        return json.loads(history.readline())


def run(seed: int, exit_code: int, *wrong: str) -> Run:
    return Run(seed, exit_code, list(wrong), 1.0, f"runs/{seed}", "")


# -- Repeat


def test_each_run_has_a_line_a_seed_and_a_folder(story):
    code, out, _ = ended(start(story, "--repeat", 3, "--jobs", 2, "--seed", 5))
    assert code == 0
    lines = out.splitlines()
    assert sorted(line.split()[:3] for line in lines[:3]) == [["seed", str(n), "PASS"] for n in (5, 6, 7)]
    assert "Runs       3 = 3 pass" in out


def test_a_series_is_json_too(story):
    code, out, err = ended(start(story, "--repeat", 2, "--jobs", 2, "--json"))
    assert (code, err) == (0, "")
    series = json.loads(out)
    assert (series["outcomes"], series["exit_code"]) == ({"pass": 2}, 0)
    assert sorted(header(Path(run["folder"]))["seed"] for run in series["runs"]) == [1, 2]


@pytest.mark.parametrize(("codes", "worst"), [((0, 0), 0), ((0, 4), 4), ((4, 3), 3), ((3, 4, 1, 0), 1)])
def test_the_worst_run_decides_and_a_violation_is_the_worst(codes, worst):
    assert Series([run(seed, code) for seed, code in enumerate(codes)]).exit_code == worst


def test_the_table_counts_and_names_the_red_ones():
    series = Series([run(7, 1, "fifo", "no_leak"), run(8, 0), run(9, 1, "fifo"), run(10, 4)])
    assert list(series.table()) == [
        "Runs       4 = 2 fail, 1 pass, 1 unknown     exit 1",
        "      2 x  fifo",
        "      1 x  no_leak",
        "  seed 7        runs/7",
        "  seed 9        runs/9",
        "  seed 10       runs/10",
    ]


def test_a_run_that_fails_as_a_lab_is_told_with_its_reason(story):
    command = f"{sys.executable} -c 'raise SystemExit(7)' {{port}}"
    code, out, _ = ended(start(story, "--repeat", 2, "--broker-cmd", command))
    assert code == 3
    assert out.count("NO VERDICT") == 2 and "exit status 7" in out


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGKILL])
def test_ending_the_series_ends_every_lab_of_it(signum, story):
    series = start(story, "--repeat", 4, "--jobs", 2)
    me = psutil.Process(series.pid)
    assert wait_until(lambda: brokers(me) == 2, PATIENCE_S)
    everybody = me.children(recursive=True)
    os.kill(series.pid, signum)
    began = time.monotonic()
    assert ended(series)[0] == (130 if signum == signal.SIGINT else -9)
    _, alive = psutil.wait_procs(everybody, timeout=2 - (time.monotonic() - began))
    assert not alive


def brokers(lab: psutil.Process) -> int:
    count = 0
    for process in lab.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            count += "serve" in process.cmdline()
    return count


# -- Two labs at once


def test_two_labs_on_one_machine_do_not_disturb_one_another(story, tmp_path):
    both = [start(story, "--json") for _ in range(2)]
    results = []
    for lab in both:
        code, out, err = ended(lab)
        assert code == 0, out + err
        results.append(json.loads(out))
    folders = [Path(result["run"]).resolve() for result in results]
    assert folders[0] != folders[1]
    for latest in (tmp_path / "runs" / "latest", tmp_path / "runs" / "story" / "latest"):
        assert latest.resolve() in folders
    first, second = sorted(folders, key=lambda folder: header(folder)["start_ns"])
    last = json.loads((first / "history.jsonl").read_text().splitlines()[-1])
    assert last["time_ns"] > header(second)["start_ns"], "one after the other: this shows nothing"
    logs = [(folder / "logs" / "broker.log").read_text() for folder in folders]
    assert all(log.count("listening on") == 1 for log in logs)
    assert logs[0] != logs[1]  # another port
