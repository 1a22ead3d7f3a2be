"""A scenario file is accepted as it was meant, or refused with every mistake at its place."""

import json
from pathlib import Path

import pytest

from dsjq_lab import yaml12
from dsjq_lab.scenario import (
    INVARIANTS,
    After,
    Scenario,
    ScenarioErrors,
    Timed,
    When,
    json_schema,
    load,
    plan,
    varied,
)

ROOT = Path(__file__).parents[1]
SCHEMA = ROOT / "harness/dsjq_lab/scenario.schema.json"

CHURN = """\
scenario: 1
title: Workers crash and come back
story: >
  Three workers share forty jobs.
ask: A worker dies holding job 12. How often is job 12 delivered?
seed: 7
broker:
  ack_timeout: 2s
  max_attempts: 10
load:
  jobs: 40
  producers: 2
  rate: 50/s
workers:
  count: 3
  work_time: 50ms
  fail_rate: 0.05
faults:
  - kill: random worker
    every: 400ms
    from: 500ms
    until: 3s
    restart_after: 200ms
  - when: {delivered: 12}
    kill: that worker
    restart_after: 200ms
finish_within: 1m
focus: [no_lost_job, exclusive_lease, everything_finishes]
"""

ZOMBIE = """\
scenario: 1
title: A zombie acknowledges
story: A worker is paused past its ack timeout.
load: {jobs: 5}
workers: {count: 2}
faults:
  - when: {before_ack: 1}
    pause: that worker
    for: 3s
expect:
  - violated: [exclusive_lease]
    because: Nobody can take back what a paused worker believes.
"""

HEAD = "scenario: 1\ntitle: t\nstory: s\nload: {jobs: 5, producers: 2}\nworkers: {count: 3}\n"  # five lines
FAULT = HEAD + "faults:\n  - "  # what is added stands in line 7 from column 5


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "story.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def accepted(folder: Path, text: str) -> Scenario:
    return load(written(folder, text))


def refused(folder: Path, text: str | bytes) -> ScenarioErrors:
    with pytest.raises(ScenarioErrors) as caught:
        load(written(folder, text))
    return caught.value


def test_workers_crash_and_come_back(tmp_path: Path) -> None:
    story = accepted(tmp_path, CHURN)
    assert (story.name, story.seed, story.story) == ("story", 7, "Three workers share forty jobs.\n")
    assert (story.broker.ack_timeout_s, story.broker.max_attempts) == (2.0, 10)
    assert (story.load.jobs, story.load.producers, story.load.rate_per_s) == (40, 2, 50.0)
    assert (story.workers.count, story.workers.work_time_s, story.workers.fail_rate) == (3, 0.05, 0.05)
    assert story.finish_within_s == 60.0
    churn, exact = story.faults
    assert (churn.verb, churn.victim.role, churn.victim.which, churn.lasts_s) == (
        "kill",
        "worker",
        "random",
        0.2,
    )
    assert churn.trigger == Timed([0.5, 0.9, 1.3, 1.7, 2.1, 2.5, 2.9])
    assert exact.trigger == When("delivered", 12)
    assert plan(story) == [
        "every 0.4 s from 0.5 s until 3 s: kill random worker, back after 0.2 s  (strikes: 7)",
        "when delivery 12 is read, its work not begun: kill that worker, back after 0.2 s  (exact)",
    ]


def test_a_zombie_acknowledges_with_every_default(tmp_path: Path) -> None:
    story = accepted(tmp_path, ZOMBIE)
    assert (story.seed, story.ask, story.focus, story.finish_within_s) == (1, "", [], 20.0)
    assert (story.broker.ack_timeout_s, story.broker.max_attempts) == (1.0, 5)
    assert (story.load.producers, story.load.rate_per_s, story.workers.work_time_s) == (1, None, 0.01)
    assert (story.faults[0].verb, story.faults[0].lasts_s) == ("pause", 3.0)
    assert (story.expect[0].violated, story.expect[0].may_violate) == (["exclusive_lease"], [])


@pytest.mark.parametrize(
    ("fault", "trigger", "lasts_s", "line"),
    [
        ("{kill: broker, at: 2s}", Timed([2.0]), None, "at 2 s: kill broker, for good  (strikes: 1)"),
        (
            "{restart: broker, at: 1s}",
            Timed([1.0]),
            0.0,
            "at 1 s: restart broker, down for 0 s, killed if it takes more than 5 s  (strikes: 1)",
        ),
        ("{term: worker 3, every: 1s, until: 3s}", Timed([1.0, 2.0, 3.0]), None, "(strikes: 3)"),
        ("{pause: all workers, at: 0s, for: 100ms}", Timed([0.0]), 0.1, "pause all workers, for 0.1 s"),
        ("{kill: that producer, when: {submitted: 2}}", When("submitted", 2), None, "submit 2 is confirmed"),
        (
            "{kill: half the workers, every: 100ms, from: 0s, until: 300ms}",
            Timed([0, 0.1, 0.2, 0.3]),
            None,
            "4",
        ),
    ],
)
def test_verbs_and_triggers(
    tmp_path: Path, fault: str, trigger: Timed | When, lasts_s: float | None, line: str
) -> None:
    story = accepted(tmp_path, FAULT + fault)
    assert story.faults[0].trigger == trigger
    assert story.faults[0].lasts_s == lasts_s
    assert line in plan(story)[0]


@pytest.mark.parametrize(
    ("text", "place", "kind", "says"),
    [
        (HEAD + "sead: 7", (6, 1), "unknown-key", "did you mean 'seed'?"),
        (HEAD + "broker:\n  ack_timout: 2s", (7, 3), "unknown-key", "did you mean 'ack_timeout'?"),
        (HEAD + "broker: {max_attempts: 0}", (6, 24), "value", "greater than or equal to 1"),
        (HEAD + "broker: {ack_timeout: 199ms}", (6, 23), "value", "at least 200ms"),
        (HEAD + "broker: {ack_timeout: 2}", (6, 23), "unit", "write the unit, e.g. 250ms"),
        (HEAD + "finish_within: 2 hours", (6, 16), "unit", "ms, s or m"),
        (HEAD + "finish_within: 0s", (6, 16), "value", "more than 0"),
        (HEAD + "focus: [no_lost_jobs]", (6, 9), "value", "did you mean 'no_lost_job'?"),
        (HEAD + "broker:", (6, 8), "value", "should be a mapping"),
        (HEAD + "seed: true", (6, 7), "value", "integer"),
        (HEAD + "title: again", (6, 1), "duplicate-key", "first in line 2"),
        (HEAD + "expect:\n  - because: so", (7, 5), "value", "violated or may_violate"),
        (HEAD.replace("{jobs: 5, producers: 2}", "{}"), (4, 1), "missing", "'jobs' is missing"),
        (HEAD.replace("title: t\n", ""), (1, 1), "missing", "'title' is missing"),
        (HEAD.replace("producers: 2", "rate: 50"), (4, 23), "unit", "50/s"),
        (HEAD.replace("jobs: 5", "jobs: 1000001"), (4, 14), "value", "1000000"),
        (HEAD.replace("scenario: 1", "scenario: 2"), (1, 11), "value", "should be 1"),
        (FAULT + "{kil: broker, at: 1s}", (7, 6), "unknown-key", "did you mean 'kill'?"),
        (FAULT + "{restart_after: 1s, kil: broker, at: 1s}", (7, 25), "unknown-key", "did you mean 'kill'?"),
        (FAULT + "{at: 1s}", (7, 5), "missing", "a fault needs a verb: kill, term, restart, pause"),
        (FAULT + "kill", (7, 5), "missing", "a fault needs a verb"),
        (FAULT + "{kill: broker, att: 1s, at: 1s}", (7, 20), "unknown-key", "did you mean 'at'?"),
        (FAULT + "{kill: broker, pause: broker, at: 1s}", (7, 20), "unknown-key", "no 'pause' here"),
        (FAULT + "{kill: wroker 2, at: 1s}", (7, 12), "value", "did you mean 'worker N'?"),
        (FAULT + "{pause: broker, at: 1s}", (7, 6), "value", "a pause needs an end: 'for', or 'until'"),
        (FAULT + "{throttle: broker, at: 1s, for: 1s}", (7, 5), "missing", "'to' is missing"),
        (FAULT + "{throttle: broker, at: 1s, for: 1s, to: 0%}", (7, 45), "unit", "from 1% to 99%"),
        (FAULT + "{throttle: broker, at: 1s, for: 1s, to: 20}", (7, 45), "unit", "from 1% to 99%"),
        (FAULT + "{hang: producer 1, at: 1s, for: 1s}", (7, 12), "value", "only workers have a handler"),
        (FAULT + "{hang: broker, at: 1s, for: 1s}", (7, 12), "value", "only workers have a handler"),
        (FAULT + "{kick: broker, at: 1s}", (7, 12), "value", "is called 'dead jobs'"),
        (FAULT + "{kick: dead jobs, at: 1s, for: 1s}", (7, 31), "unknown-key", "no 'for' here"),
        (FAULT + "{kick: dead jobs, at: 1s, until: {acked: 2}}", (7, 31), "value", "it has no end"),
        (FAULT + "{kill: broker, at: 1s, grace: 1s}", (7, 28), "unknown-key", "no 'grace' here"),
        (FAULT + "{pause: broker, at: 1s, until: {}}", (7, 36), "value", "at least 1 item"),
        (FAULT + "{pause: broker, at: 1s, until: {ackd: 1}}", (7, 37), "value", "did you mean 'acked'?"),
        (FAULT + "{pause: broker, at: 1s, until: {an event: 1}}", (7, 37), "value", "should be"),
        (FAULT + "{pause: broker, at: 1s, for: 1s, an event: 1}", (7, 38), "unknown-key", "no 'an event'"),
        (FAULT + "{pause: broker, at: 1s, until: {acked: 0}}", (7, 44), "value", "'that job'"),
        (FAULT + "{pause: broker, at: 1s, until: {acked: true}}", (7, 44), "value", "'that job'"),
        (FAULT + "{pause: broker, at: 1s, until: {acked: this job}}", (7, 44), "value", "'that job'"),
        (FAULT + "{pause: broker, at: 1s, until: 2}", (7, 36), "unit", "write the unit"),
        (FAULT + "{pause: broker, at: 1s, until: {acked: that job}}", (7, 29), "value", "needs a 'when'"),
        (
            FAULT + "{pause: worker 1, when: {broker_ready: 1}, until: {acked: that job}}",
            (7, 48),
            "value",
            "about no job",
        ),
        (FAULT + "{pause: broker, at: 1s, for: 1s, until: {acked: 2}}", (7, 38), "value", "not both"),
        (FAULT + "{restart: broker, at: 1s, down_for: 1s, until: {acked: 2}}", (7, 45), "value", "not both"),
        (
            FAULT + "{pause: broker, every: 1s, until: {acked: 2}}",
            (7, 32),
            "value",
            "time of the last strike",
        ),
        (FAULT + "{pause: broker, when: {before_effect: 1}, for: 1s}", (7, 21), "value", "an 'effect'"),
        (FAULT + "{kill: that worker, when: {broker_ready: 1}}", (7, 6), "value", "the event of a broker"),
        (FAULT + "{id: One, kill: broker, at: 1s}", (7, 10), "value", "match pattern"),
        (FAULT + "{kill: broker, after: one}", (7, 20), "value", "no fault is called 'one'"),
        (
            FAULT + "{id: first, kill: worker 1, at: 1s}\n  - {kill: broker, after: frist}",
            (8, 20),
            "value",
            "did you mean 'first'?",
        ),
        (
            FAULT + "{id: a, kill: worker 1, after: b}\n  - {id: b, kill: broker, after: a}",
            (7, 29),
            "value",
            "in a circle: a after b after a",
        ),
        (FAULT + "{id: a, kill: broker, after: a}", (7, 27), "value", "in a circle: a after a"),
        (
            FAULT + "{id: a, kill: worker 1, at: 1s}\n  - {id: a, kill: broker, at: 1s}",
            (8, 6),
            "value",
            "called 'a' already",
        ),
        (
            FAULT + "{id: a, kill: worker 1, at: 1s}\n  - {kill: broker, at: 1s, after: a}",
            (8, 28),
            "value",
            "exactly one trigger",
        ),
        (HEAD.replace("count: 3", "fail_rate: 0.6, release_rate: 0.6"), (5, 27), "value", "at most 1 toge"),
        (HEAD.replace("producers: 2", "delays: []"), (4, 25), "value", "at least 1 item"),
        (HEAD.replace("producers: 2", "delays: [1]"), (4, 26), "unit", "write the unit"),
        (HEAD.replace("producers: 2", "priorities: [0, 10]"), (4, 33), "value", "less than or equal to 9"),
        (HEAD.replace("producers: 2", "payload: 12"), (4, 26), "unit", "write a number and B or KiB"),
        (HEAD.replace("producers: 2", "payload: 64KiB"), (4, 26), "value", "at most 60000B"),
        (HEAD.replace("producers: 2", "keyd: true"), (4, 17), "unknown-key", "did you mean 'keyed'?"),
        (HEAD.replace("count: 3", "max_runtime: 1s"), (5, 11), "value", "needs 'renew: true'"),
        (HEAD.replace("count: 3", "effect: apend"), (5, 19), "value", "did you mean 'append'?"),
        (
            HEAD + "expect:\n  - {violated: [fifo], because: x, with: {broker: [a], brokr: [a]}}",
            (7, 56),
            "unknown-key",
            "did you mean 'broker'?",
        ),
        (
            HEAD + "expect:\n  - {violated: [fifo], because: x, with: {broker: []}}",
            (7, 51),
            "value",
            "at least 1 item",
        ),
        (
            HEAD + "expect:\n  - {violated: [fifo], because: x, with: {}}",
            (7, 42),
            "value",
            "whether it is durable",
        ),
        (HEAD + "broker: {store: jornal}", (6, 17), "value", "did you mean 'journal'?"),
        (FAULT + "{power_loss: worker 1, at: 1s}", (7, 18), "value", "to the broker alone"),
        (FAULT + "{kill_on: broker, at: 1s}", (7, 15), "value", "should be a mapping"),
        (FAULT + "{kill_on: {}, at: 1s}", (7, 15), "value", "at least 1 item"),
        (FAULT + "{kill_on: {fsnc: 1}, at: 1s}", (7, 16), "value", "did you mean 'fsync'?"),
        (FAULT + "{kill_on: {fsync: 0}, at: 1s}", (7, 23), "value", "greater than or equal to 1"),
        (FAULT + "{kill_on: {fsync: 1}, victim: broker, at: 1s}", (7, 27), "unknown-key", "no 'victim' here"),
        (FAULT + "{fsync_error: broker, nth: 0, at: 1s}", (7, 32), "value", "greater than or equal to 1"),
        (FAULT + "{slow_fsync: broker, for: 1s, at: 1s}", (7, 5), "missing", "'by' is missing"),
        (FAULT + "{slow_fsync: broker, by: 1s, at: 1s}", (7, 6), "value", "needs an end: 'for'"),
        (FAULT + "{torn_tail: broker, bytes: 0, at: 1s}", (7, 32), "value", "greater than or equal to 1"),
        (FAULT + "{disk_full: broker, at: 1s}", (7, 6), "value", "needs an end: 'for'"),
        (FAULT + "{fd_limit: broker, at: 1s}", (7, 6), "value", "needs an end: 'for'"),
        (FAULT + "{fd_limit: worker 1, for: 1s, at: 1s}", (7, 16), "value", "to the broker alone"),
        (FAULT + "{fd_limit: broker, spare: 0, for: 1s, at: 1s}", (7, 31), "value", "or equal to 1"),
        (FAULT + "{file_limit: broker, at: 1s}", (7, 6), "value", "needs an end: 'for'"),
        (FAULT + "{file_limit: worker 1, for: 1s, at: 1s}", (7, 18), "value", "to the broker alone"),
        (FAULT + "{file_limit: broker, spare: 9, for: 1s, at: 1s}", (7, 33), "unit", "a number and B or KiB"),
        (FAULT + "{memory_limit: broker, at: 1s}", (7, 5), "missing", "'spare' is missing"),
        (FAULT + "{memory_limit: broker, spare: 8, at: 1s}", (7, 35), "unit", "a number and KiB or MiB"),
        (FAULT + "{bit_flp: broker, at: 1s}", (7, 6), "unknown-key", "did you mean 'bit_flip'?"),
        (FAULT + "{restart: worker 1, at: 1s}", (7, 15), "value", "kill with restart_after"),
        (FAULT + "{kill: broker, when: {deliverd: 1}}", (7, 27), "value", "did you mean 'delivered'?"),
        (FAULT + "{kill: broker, when: {acked: 0}}", (7, 34), "value", "greater than or equal to 1"),
        (FAULT + "{kill: broker, when: }", (7, 25), "value", "should be a mapping"),
        (FAULT + "{kill: broker, when: {}}", (7, 26), "value", "at least 1 item"),
        (FAULT + "{kill: broker, when: {acked: 1, failed: 1}}", (7, 26), "value", "at most 1 item"),
        (FAULT + "{kill: broker, every: 0s, until: 1s}", (7, 27), "value", "more than 0"),
        (FAULT + "{clock_step: worker 1, by: 1s, at: 1s}", (7, 18), "value", "to the broker alone"),
        (FAULT + "{clock_step: broker, by: 3600, at: 1s}", (7, 30), "unit", "write the unit"),
        (FAULT + "{clock_step: broker, by: --1s, at: 1s}", (7, 30), "unit", "write a number"),
        (FAULT + "{clock_step: broker, at: 1s}", (7, 5), "missing", "'by' is missing"),
        (FAULT + "{kill: broker}", (7, 6), "value", "exactly one trigger"),
        (FAULT + "{kill: broker, at: 1s, when: {acked: 1}}", (7, 28), "value", "exactly one trigger"),
        (FAULT + "{kill: broker, every: 1s}", (7, 20), "value", "needs 'until'"),
        (FAULT + "{kill: broker, at: 1s, until: 2s}", (7, 28), "value", "belongs to every, not to at"),
        (FAULT + "{kill: broker, every: 2s, until: 1s}", (7, 31), "value", "before the first strike"),
        (FAULT + "{kill: worker 9, at: 1s}", (7, 6), "value", "no worker 9: the scenario has 3"),
        (FAULT + "{kill: producer 3, at: 1s}", (7, 6), "value", "no producer 3: the scenario has 2"),
        (FAULT + "{kill: that worker, at: 1s}", (7, 6), "value", "needs a 'when'"),
        (FAULT + "{kill: that worker, when: {submitted: 1}}", (7, 6), "value", "the event of a producer"),
        (FAULT + "{kill: that producer, when: {acked: 1}}", (7, 6), "value", "the event of a worker"),
        (
            FAULT + "{pause: broker, at: 19s, for: 2s}",
            (7, 6),
            "value",
            "until 21 s, and finish_within is 20 s",
        ),
    ],
)
def test_one_mistake_is_one_error(
    tmp_path: Path, text: str, place: tuple[int, int], kind: str, says: str
) -> None:
    errors = refused(tmp_path, text)
    assert [mistake[:3] for mistake in errors.mistakes] == [(*place, kind)], str(errors)
    assert says in errors.mistakes[0].message


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        (b"", (1, 1), "empty"),
        (b"# only a remark\n", (1, 1), "empty"),
        (b"- a\n- b\n", (1, 1), "should be a mapping"),
        (b"title: a\nload:\n\tjobs: 1\n", (3, 1), "spaces, not tabs"),
        (b"title: *.orders\n", (1, 8), "quote it"),
        (b"title: *orders\n", (1, 8), "quote it"),
        (b"title: @home\n", (1, 8), "quote it"),
        (b"title: !!python/name:os.system x\n", (1, 8), "tags are not used"),
        (b"title: a: b\n", (1, 9), "quote it"),
        (b'title: a\nstory: "no end\nseed: 1\n', (2, 8), "unexpected end"),
        (b"title: [a, b\n", (2, 1), "expected"),
        (b"? [a]\n: b\n", (1, 3), "a key must be a word"),
        (b"title: a\n---\ntitle: b\n", (2, 1), "another document"),
        (b"title: a\nstory: caf\xe9\n", (2, 11), "UTF-8"),
        (b"title: a\nstory: \x00\n", (2, 8), "not allowed"),
        (b"[" * 3000, (1, 1), "nested too deeply"),
    ],
)
def test_what_is_not_yaml_is_one_error(
    tmp_path: Path, text: bytes, place: tuple[int, int], says: str
) -> None:
    errors = refused(tmp_path, text)
    assert [mistake[:2] for mistake in errors.mistakes] == [place], str(errors)
    assert says in errors.mistakes[0].message


def test_a_missing_file_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(ScenarioErrors, match=r"nowhere\.yaml:1:1: error\[file\]: No such file"):
        load(tmp_path / "nowhere.yaml")


def test_five_mistakes_are_five_errors_by_line(tmp_path: Path) -> None:
    text = (
        CHURN.replace("seed: 7", "sead: 7")
        .replace("ack_timeout: 2s", "ack_timeout: 2")
        .replace("every: 400ms\n", "evry: 400ms\n")
        .replace("kill: that worker", "kill: worker 9")
        .replace("no_lost_job", "no_lost_jobs")
    )
    places = [mistake[:3] for mistake in refused(tmp_path, text).mistakes]
    assert places == [
        (6, 1, "unknown-key"),
        (8, 16, "unit"),
        (20, 5, "unknown-key"),
        (25, 5, "value"),
        (28, 9, "value"),
    ]


def test_two_disagreements_of_one_fault_are_two_errors(tmp_path: Path) -> None:
    errors = refused(tmp_path, FAULT + "{kill: worker 9, at: 30s}\ntitle: again")
    assert [(mistake.line, mistake.kind) for mistake in errors.mistakes] == [
        (7, "value"),
        (7, "value"),
        (8, "duplicate-key"),
    ]


def test_an_error_shows_the_line_and_points_at_the_mistake(tmp_path: Path) -> None:
    errors = refused(tmp_path, HEAD + "broker:\n  ack_timout: 2s\n")
    assert errors.rendered == [
        f"{tmp_path}/story.yaml:7:3: error[unknown-key]: there is no 'ack_timout' here; "
        "did you mean 'ack_timeout'?\n"
        "      ack_timout: 2s\n"
        "      ^"
    ]


def test_a_scalar_means_what_it_looks_like() -> None:
    words = b"[on, yes, 1:30, 0x10, 1_000, 2024-01-01, '7', 'true']"
    assert yaml12.read(words).data == ["on", "yes", "1:30", "0x10", "1_000", "2024-01-01", "7", "true"]
    numbers = yaml12.read(b"[010, -7, 2.5, 1e3]").data
    assert numbers == [10, -7, 2.5, 1000.0]
    assert [type(number) for number in numbers] == [int, int, float, float]
    assert yaml12.read(b"[true, False, null, ~]").data == [True, False, None, None]


def test_every_key_and_value_has_a_place() -> None:
    document = yaml12.read(b"a:\n  - b: 1\n    c: {d: x}\n")
    assert document.data == {"a": [{"b": 1, "c": {"d": "x"}}]}
    assert document.keys["a", 0, "c", "d"] == (3, 9)
    assert document.values["a", 0, "c", "d"] == (3, 12)
    assert document.values["a", 0] == (2, 5)


EVENTFUL = (
    HEAD.replace("count: 3", "count: 3, effect: append, renew: true, max_runtime: 2s")
    + """\
faults:
  - id: zombie
    when: {before_effect: 1}
    pause: that worker
    until: {redelivered: that job}
  - after: zombie
    hang: random worker
    for: 500ms
  - throttle: broker
    to: 20%
    at: 1s
    for: 2s
  - when: {failed: 5}
    kick: dead jobs
  - when: {acked: 2}
    restart: broker
    until: {acked: 5}
    grace: 1s
  - when: {broker_ready: 2}
    kill: worker 1
    restart_after: 0s
expect:
  - violated: [effect_once]
    because: At least once.
  - with: {broker: [nats, core]}
    may_violate: [no_stale_ack]
    because: They accept it.
    source: measured
"""
)


def test_faults_begin_and_end_by_what_happens(tmp_path: Path) -> None:
    story = accepted(tmp_path, EVENTFUL)
    assert (story.workers.effect, story.workers.renew, story.workers.max_runtime_s) == ("append", True, 2.0)
    zombie, hang, _, kick, restart, _ = story.faults
    assert (zombie.trigger, zombie.end) == (When("before_effect", 1), When("redelivered", "that job"))
    assert (hang.trigger, hang.end, kick.end, restart.end) == (After("zombie"), 0.5, None, When("acked", 5))
    assert [expect.given and expect.given.broker for expect in story.expect] == [None, ["nats", "core"]]
    assert plan(story) == [
        "zombie: when effect 1 is about to be written, its work done: pause that worker, "
        "until redelivery of that job is read  (exact)",
        "after zombie has ended: hang random worker, for 0.5 s",
        "at 1 s: throttle broker to 20% of its time, for 2 s  (strikes: 1)",
        "when failure 5 is confirmed: kick dead jobs  (exact)",
        "when ack 2 is confirmed: restart broker, down until ack 5 is confirmed, "
        "killed if it takes more than 1 s  (exact)",
        "when start 2 of the broker is over: kill worker 1, back after 0 s",
    ]


def test_a_change_counts_as_if_the_file_said_it(tmp_path: Path) -> None:
    path = written(tmp_path, CHURN)
    story = load(path, ["load.jobs=5", "broker.ack_timeout=3s", "faults.1.restart_after=1s", "focus=[]"])
    assert (story.load.jobs, story.broker.ack_timeout_s, story.focus) == (5, 3.0, [])
    assert story.faults[1].end == 1.0
    assert load(written(tmp_path, HEAD), ["broker.max_attempts=2"]).broker.max_attempts == 2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("load.jobz=5", "error[unknown-key]: there is no 'jobz' here; did you mean 'jobs'?"),
        ("lod.jobs=5", "error[unknown-key]: there is no 'lod' here; did you mean 'load'?"),
        ("load.jobs=five", "error[value]: should be a valid integer"),
        ("load.jobs=", "error[value]: should be a valid integer"),
        ("load.jobs", "error[set]: write path=value, e.g. load.jobs=5"),
        ("load.jobs=[1", "error[yaml]"),
        ("broker.ack_timeout=2", "error[unit]: write the unit, e.g. 250ms"),
        ("broker={ack_timout: 2s}", "error[unknown-key]: there is no 'ack_timout' here"),
        ("faults.7.for=2s", "error[set]: there is no '7' in 'faults'"),
        ("title.size=2", "error[set]: there is no 'size' in 'title'"),
        ("faults.1.kill=worker 9", "error[value]: there is no worker 9: the scenario has 3"),
    ],
)
def test_a_bad_change_is_one_error_of_its_own(tmp_path: Path, change: str, says: str) -> None:
    with pytest.raises(ScenarioErrors) as caught:
        load(written(tmp_path, CHURN), ["seed=3", change])
    (rendered,) = caught.value.rendered
    assert rendered.startswith(f"--set {change}: {says}")


def test_the_control_has_no_faults_and_expects_no_violation(tmp_path: Path) -> None:
    control = varied(accepted(tmp_path, EVENTFUL), without_faults=True)
    assert (control.faults, control.expect, control.name) == ([], [], "story")
    assert control.workers.effect == "append"


def test_a_slow_machine_gets_more_of_all_times(tmp_path: Path) -> None:
    story = accepted(tmp_path, CHURN)
    slow = varied(story, time_scale=2.0)
    assert (slow.broker.ack_timeout_s, slow.workers.work_time_s, slow.finish_within_s) == (4.0, 0.1, 120.0)
    assert (slow.load.rate_per_s, slow.load.jobs, slow.workers.fail_rate) == (25.0, 40, 0.05)
    assert slow.faults[0].trigger == Timed([1.0, 1.8, 2.6, 3.4, 4.2, 5.0, 5.8])
    assert (slow.faults[0].end, slow.faults[1].trigger) == (0.4, When("delivered", 12))
    assert (slow.tolerance_s, story.tolerance_s, slow.name) == (2.0, 1.0, "story")


def test_jobs_may_have_terms_of_their_own(tmp_path: Path) -> None:
    terms = "delays: [0s, 500ms], priorities: [-9, 9], keyed: true, payload: 12KiB"
    broker = "broker: {backoff: 100ms, backoff_cap: 1s, max_attempts: 3}\n"
    text = HEAD.replace("producers: 2", terms) + broker
    story = accepted(tmp_path, text)
    load = story.load
    assert (load.delays_s, load.priorities) == ([0, 0.5], [-9, 9])
    assert (load.keyed, load.payload_bytes) == (True, 12288)
    assert varied(story, time_scale=2.0).load.delays_s == [0, 1.0]
    assert story.broker.backoff_s_max == 0.2  # 100 ms before the second attempt, 200 ms before the third
    assert accepted(tmp_path, text.replace("100ms", "600ms")).broker.backoff_s_max == 1.0
    assert accepted(tmp_path, HEAD).broker.backoff_s_max == 0.0


def test_the_json_schema_speaks_the_keys_of_the_file() -> None:
    schema = json_schema()
    assert schema["required"] == ["scenario", "title", "story", "load"]
    assert schema["properties"]["finish_within"]["default"] == "20s"
    assert {"kill", "id", "at", "every", "from", "until", "when", "after", "restart_after"} == set(
        schema["$defs"]["Kill"]["properties"]
    )
    assert schema["properties"]["focus"]["items"]["enum"] == list(INVARIANTS)


def test_the_schema_that_is_shipped_is_the_one_that_the_models_make() -> None:
    assert json.loads(SCHEMA.read_text()) == json_schema()


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[1] / "scenarios").glob("*.yaml")), ids=lambda path: path.stem
)
def test_every_story_is_told_and_asks_something_and_knows_its_schema(path: Path) -> None:
    story = load(path)
    assert story.story and story.ask and story.focus
    assert path.read_text().startswith(f"# yaml-language-server: $schema=../{SCHEMA.relative_to(ROOT)}\n")
    assert varied(story, without_faults=True, time_scale=2.0).finish_within_s == 2 * story.finish_within_s
