"""A run may depart from its scenario; the judge, and whoever plays it again, then depart alike."""

import json
from pathlib import Path

import pytest
from histories import Told

from dsjq_lab import cli, scenario
from dsjq_lab.checkers import judge
from dsjq_lab.history import read_history
from dsjq_lab.results import Result, deviations, doubts, rule
from dsjq_lab.variation import AS_WRITTEN, Variation

SCENARIO = """\
scenario: 1
title: A test
story: A test.
broker: {ack_timeout: 2s}
load: {jobs: 9}
workers: {count: 2, work_time: 10ms}
faults: [{when: {delivered: 1}, pause: that worker, for: 1s}]
finish_within: 10s
expect: [{violated: [fifo], because: It is paused.}]
"""


@pytest.fixture
def story(tmp_path: Path) -> Path:
    path = tmp_path / "story.yaml"
    path.write_text(SCENARIO)
    return path


def lab(capsys, *words: object) -> tuple[int, str]:
    code = cli.main(list(map(str, words)))
    return code, capsys.readouterr().out


def test_the_header_keeps_it_and_every_later_reading_applies_it(story, capsys):
    words = ["--set", "load.jobs=2", "--without-faults", "--time-scale", "0.5"]
    code, out = lab(capsys, "run", story, *words)
    assert code == 0, out  # as a control it violates nothing, expects nothing, and lacks no fault
    assert "seed 1 · load.jobs=2 · without faults · times x 0.5" in out
    assert "Jobs       2 submitted" in out
    header = read_history(story.parent / "runs" / "latest" / "history.jsonl").header
    assert header.options == {"set": ["load.jobs=2"], "without_faults": True, "time_scale": 0.5}
    assert (header.ack_timeout_ns, header.finish_within_ns) == (1_000_000_000, 5_000_000_000)
    assert header.tolerance_ns == 500_000_000
    code, out = lab(capsys, "judge", "latest", "--json")
    assert (code, json.loads(out)["options"]) == (0, header.options)
    code, out = lab(capsys, "run", "latest", "--set", "load.jobs=3", "--json")
    again = json.loads(out)
    assert (code, again["counts"]["attempted"]) == (0, 3)
    assert again["options"] == header.options | {"set": ["load.jobs=2", "load.jobs=3"]}


def test_the_header_says_nothing_of_what_was_not_varied():
    assert AS_WRITTEN.options() == {}
    for variation in (AS_WRITTEN, Variation(("a=1",)), Variation((), True, 2.0)):
        header = Told().header._replace(options=variation.options())
        assert Variation.of(header) == variation


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--set", "load.jbos=1"], "--set load.jbos=1: error[unknown-key]"),
        (["--set", "load.jobs=none"], "--set load.jobs=none: error["),
    ],
)
def test_a_change_that_does_not_fit_is_located(words, complaint, story, capsys):
    assert cli.main(["run", str(story), *words]) == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("word", ["0", "-1", "nan", "inf", "fast"])
def test_time_is_scaled_by_a_number(word, story):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["run", str(story), f"--time-scale={word}"])


# -- What is expected of whom

EXPECT = """\
  - {violated: [fifo], because: all}
  - {with: {broker: [core]}, may_violate: [fifo], because: core}
  - {with: {broker: [p04, other]}, violated: [no_leak], because: p04}
  - {with: {broker: [p05]}, because: nothing}
  - {with: {broker: [core], durable: true}, because: durable core}
  - {with: {durable: true}, because: durable}
"""


@pytest.mark.parametrize(
    ("broker", "options", "durable", "because"),
    [
        ("dsjq", {}, False, "all"),
        ("dsjq", {}, True, "durable"),
        ("zoo/p04.py", {}, True, "p04"),
        ("other", {}, False, "p04"),
        ("/elsewhere/p05.py", {}, False, "nothing"),
        ("python3 mine.py --port {port}", {"core": True}, False, "core"),
        ("python3 mine.py --port {port} {data}", {"core": True}, True, "durable core"),
    ],
)
def test_the_most_specific_circumstances_win(broker, options, durable, because, story):
    story.write_text(SCENARIO[: SCENARIO.index("expect:")] + f"expect:\n{EXPECT}")
    header = Told().header._replace(broker=broker, options=options, durable=durable)
    (deviation,) = deviations(scenario.load(story).expect, header)
    assert deviation.because == because


# -- A broker that refuses to go on

REFUSAL = "[{may_violate: [everything_finishes, no_lost_job], because: It says what is damaged.}]"


@pytest.mark.parametrize(
    ("expect", "decided", "healthy", "outcome"),
    [
        (REFUSAL, True, True, "pass"),
        (REFUSAL, True, False, "unknown"),  # then nobody knows why
        (REFUSAL, False, True, "unknown"),  # it may come back
        (REFUSAL.replace("everything_finishes, ", ""), True, True, "fail"),
        ("[]", True, True, "fail"),
    ],
)
def test_a_broker_may_be_gone_for_good_only_where_the_scenario_says_so(
    expect, decided, healthy, outcome, story
):
    story.write_text(SCENARIO[: SCENARIO.index("faults:")] + f"expect: {expect}\n")
    told = Told(durable=True)
    told.submit("a")
    told.exit("broker")
    told.end(drained=False, healthy=healthy, why="the broker did not come back", decided=decided)
    played, model = scenario.load(story), told.model()
    rulings = rule(judge(model), deviations(played.expect, model.header))
    assert Result(played, model, rulings, doubts(played, model, rulings)).outcome == outcome


MEMORY = "[{violated: [no_lost_job], may_violate: [everything_finishes], because: It ends with the process.}]"


@pytest.mark.parametrize(
    ("durable", "is_done", "outcome"),
    [
        (False, False, "pass"),  # it had no disk that could be full
        (True, False, "unknown"),  # it had one, and nobody knows what it would have done
        (False, True, "unknown"),
    ],
)
def test_a_fault_may_miss_only_where_jobs_in_memory_were_lost_as_foreseen(durable, is_done, outcome, story):
    story.write_text(SCENARIO[: SCENARIO.index("faults:")] + f"expect: {MEMORY}\n")
    told = Told(durable=durable)
    told.submit("a")
    told.fault("disk_full", "broker", "begin", "missed")
    if is_done:
        told.reserve("worker 1", "a")
        told.ack("worker 1", "a")
    told.end()
    played, model = scenario.load(story), told.model()
    rulings = rule(judge(model), deviations(played.expect, model.header))
    assert Result(played, model, rulings, doubts(played, model, rulings)).outcome == outcome
