"""The command line: what it prints, and what it tells the shell. Runs are stored ones, told by the test."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from histories import Told

from dsjq_lab import cli, library, progress, results
from dsjq_lab.conductor import Snapshot

SCENARIO = """\
scenario: 1
title: A test
story: A test.
load:
  jobs: 1
focus: [no_lost_job]
"""
FIVE_MISTAKES = """\
scenario: 1
titel: A test
story: A test.
load:
  jobs: none
workers:
  work_time: 5
faults:
  - kil: broker
    at: 1s
"""


@pytest.fixture
def stored(tmp_path):
    """Stores a told history as a run; its folder."""

    def store(told: Told, more: str = "") -> str:
        (tmp_path / "scenario.yaml").write_text(SCENARIO + more)
        told.write(tmp_path / "history.jsonl")
        return str(tmp_path)

    return store


def green() -> Told:
    told = Told()
    told.submit("a")
    told.reserve("worker 1", "a")
    told.ack("worker 1", "a")
    told.end()
    return told


def red() -> Told:
    """Popped by a worker that dies, and gone with it."""
    told = Told()
    told.submit("a")
    told.reserve("worker 1", "a")
    told.fault("kill", "worker 1")
    told.now_ms = 400
    told.end()
    return told


def struck_idle() -> Told:
    told = Told()
    told.fault("kill", "worker 2")
    told.submit("a")
    told.reserve("worker 1", "a")
    told.ack("worker 1", "a")
    told.end()
    return told


def missed() -> Told:
    told = Told()
    told.fault("pause", "worker 1", "begin", "missed")
    told.submit("a")
    told.reserve("worker 1", "a")
    told.ack("worker 1", "a")
    told.end()
    return told


def lab(capsys, *words: str) -> tuple[int, str, str]:
    code = cli.main(words)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


# -- Judging ----------------------------------------------------------------------------------------------


def test_a_green_run_passes(stored, capsys):
    code, out, _ = lab(capsys, "judge", stored(green()))
    assert code == 0
    assert "1 submitted = 1 done + 0 dead + 0 lost" in out
    assert "PASS   13 hold, 0 violated, 0 unknown" in out


def test_a_red_run_names_the_invariant_and_tells_the_story(stored, capsys):
    code, out, _ = lab(capsys, "judge", stored(red()))
    assert code == 1
    assert "VIOLATED   no_lost_job" in out
    story = out[out.index("What happened to job a") : out.index("  Rule: ")].splitlines()
    assert len(story) <= 13
    assert [" ".join(line.split()[2:]) for line in story[1:]] == [
        "producer 1 SUBMIT -> JOB_ID a <--",
        "worker 1 REQUEST -> JOB a <-- and then it was gone",
        "! fault worker 1 killed (exact)",
        "! fault worker 1 back",
        "clock worker 1's lease is over by now",
        "lab the run ends, the job is neither done nor dead",
    ]
    assert "exit 1" in out


def test_a_long_story_is_told_in_a_dozen_lines(stored, capsys):
    told = Told()
    told.submit("a")
    for _ in range(20):
        told.reserve("worker 1", "a")
        told.fail("worker 1", "a")
    told.end()
    _, out, _ = lab(capsys, "judge", stored(told))
    story = out[out.index("What happened to job a") : out.index("Rule: ")].splitlines()[1:]
    assert len(story) <= 12
    assert " more" in "".join(story)


def test_a_broker_that_falls_silent_is_described(stored, capsys):
    told = Told(finish_within_ms=50)
    told.submit("a")
    told.submit("b")
    told.reserve("worker 1", "a")
    told.ack("worker 1", "a", outcome="fail", error="UNREACHABLE no connection")
    told.now_ms = 500
    told.end(drained=False, why="time is up")
    code, out, _ = lab(capsys, "judge", stored(told))
    assert code == 1
    assert "2 of 2 jobs are not done" in out
    assert "1  with worker 1" in out
    assert "1  in the broker, delivered to nobody" in out
    assert "last reply was at 0.005 s; since then 1 requests got no answer" in out


def never_at_rest() -> Told:
    told = Told()
    told.submit("a")
    told.reserve("worker 1", "a")
    told.ack("worker 1", "a")
    told.end(drained=False, why="the broker ended by itself")
    return told


def cut_short() -> Told:
    told = Told()
    told.submit("a")
    return told


@pytest.mark.parametrize("told", [struck_idle, missed, never_at_rest, cut_short])
def test_a_run_in_which_nothing_bit_proves_nothing(told, stored, capsys):
    code, out, _ = lab(capsys, "judge", stored(told()))
    assert code == 4
    assert "UNKNOWN" in out and "PASS" not in out
    assert "proves nothing" in out


def test_what_is_expected_must_happen(stored, capsys):
    expect = "expect: [{violated: [no_lost_job], because: It pops.}]\n"
    code, out, _ = lab(capsys, "judge", stored(red(), expect))
    assert (code, "expected   no_lost_job" in out) == (1, True)  # everything_finishes is violated as well
    both = "expect: [{violated: [no_lost_job], may_violate: [everything_finishes], because: It pops.}]\n"
    assert lab(capsys, "judge", stored(red(), both))[0] == 0
    code, out, _ = lab(capsys, "judge", stored(green(), expect))
    assert (code, "no_lost_job absent" in out) == (1, True)


def test_a_heading_tells_a_departure_and_a_line_the_effects(stored, capsys):
    told = green()
    told.header = told.header._replace(options={"set": ["load.jobs=1"], "time_scale": 2.0})
    told.effect("worker 1", "a")
    told.effect("worker 1", "a", kept=False)
    told.end()
    _, out, _ = lab(capsys, "judge", stored(told))
    assert "seed 7 · load.jobs=1 · times x 2" in out
    assert "  Effects    1 written, 1 turned away" in out


def test_a_job_that_breaks_two_rules_is_told_once(stored, capsys):
    folder = stored(red())
    _, out, _ = lab(capsys, "judge", folder)
    assert out.count("VIOLATED") == 2
    assert (out.count("What happened to job a"), out.count("Rule: ")) == (1, 2)
    _, out, _ = lab(capsys, "judge", folder, "--verbose")
    assert out.count("What happened to job a") == 2


def test_a_run_that_did_not_come_to_rest_says_at_length_why(stored, capsys):
    told = green()
    told.end(drained=False, why="the broker did not come back:\n  it says so\n  in three lines")
    _, out, _ = lab(capsys, "judge", stored(told))
    unrest = out[out.index("  Unrest") :].splitlines()
    assert unrest[0] == "  Unrest     the broker did not come back:"
    assert unrest[1].endswith("  it says so") and unrest[2].endswith("  in three lines")


def test_results_are_kept_and_the_same_as_json(stored, capsys):
    folder = stored(red())
    code, out, _ = lab(capsys, "judge", folder, "--json")
    printed, kept = json.loads(out), json.loads((Path(folder) / "results.json").read_text())
    assert printed == {"run": folder, **kept}
    assert (kept["format"], kept["outcome"], kept["exit_code"]) == (1, "fail", code)


def test_payloads_do_not_control_the_terminal(stored, capsys):
    told = green()
    told.submit("b\x1b[2J\u202e")
    told.end()
    _, out, _ = lab(capsys, "judge", stored(told))
    assert "\x1b" not in out and "\u202e" not in out
    assert r"job b\x1b[2J\u202e" in out


def test_a_damaged_history_is_a_failure_of_the_lab(stored, capsys):
    folder = stored(green())
    (Path(folder) / "history.jsonl").write_text("no history\n")
    assert lab(capsys, "judge", folder)[0] == 3


# -- Usage ------------------------------------------------------------------------------------------------


def test_every_mistake_of_a_file_is_located(tmp_path, capsys):
    path = tmp_path / "five.yaml"
    path.write_text(FIVE_MISTAKES)
    code, out, _ = lab(capsys, "validate", str(path))
    assert code == 2
    assert out.count(f"{path}:") == out.count("error[") == 5
    code, out, _ = lab(capsys, "validate", str(path), "--json")
    assert code == 2
    assert [mistake["line"] for mistake in json.loads(out)[0]["mistakes"]] == [1, 2, 5, 7, 9]


def test_broken_yaml_is_one_mistake(tmp_path, capsys):
    path = tmp_path / "broken.yaml"
    path.write_text("scenario: [1\ntitle: x\n")
    code, out, _ = lab(capsys, "validate", str(path))
    assert (code, out.count("error[")) == (2, 1)


def test_a_valid_file_shows_its_plan(tmp_path, capsys):
    path = tmp_path / "valid.yaml"
    path.write_text(SCENARIO + "faults: [{kill: broker, at: 1s, restart_after: 100ms}]\n")
    code, out, _ = lab(capsys, "validate", str(path))
    assert (code, "kill broker" in out) == (0, True)


def test_a_source_line_does_not_control_the_terminal(tmp_path, capsys):
    path = tmp_path / "evil.yaml"
    path.write_text('title: "\x1b[2J"\n')
    code, out, _ = lab(capsys, "validate", str(path))
    assert (code, "\x1b" in out) == (2, False)


def test_plain_progress_is_a_line_a_second_and_one_for_each_strike(capsys):
    with progress.shown(plain=True) as show:
        for tenth, strike in enumerate([""] * 5 + ["kill worker 1"] * 10):
            show(Snapshot(tenth / 10, {}, {"submitted": tenth, "done": 0}, strike))
    assert capsys.readouterr().err.splitlines() == [
        "   0.0 s  0 submitted, 0 done",
        "   0.5 s  5 submitted, 0 done  kill worker 1",
    ]


def test_a_bad_scenario_is_not_run(tmp_path, capsys):
    path = tmp_path / "five.yaml"
    path.write_text(FIVE_MISTAKES)
    code, _, err = lab(capsys, "run", str(path))
    assert (code, "nothing was run" in err) == (2, True)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["rnu"], "did you mean run?"),
        (["run", "worker_chrun"], "did you mean worker_churn?"),
        (["run", "first_job", "--broker", "zoo/p0x"], "did you mean p"),
        (["judge", "no/such/run"], "no such run"),
    ],
)
def test_mistyped_words_are_usage_and_get_a_hint(words, hint, capsys):
    code, _, err = lab(capsys, *words)
    assert code == 2
    assert hint in err


def test_an_interrupted_command_says_so(monkeypatch, capsys):
    def interrupted(args):
        raise KeyboardInterrupt

    monkeypatch.setitem(cli.COMMANDS, "list", interrupted)
    assert lab(capsys, "list")[0] == 130


def test_lists_are_json_too(capsys):
    found = json.loads(lab(capsys, "list", "--json")[1])
    assert set(found) == {"scenarios", "invariants", "faults", "runs", "words", "exercises"}
    assert "no_lost_job" in found["invariants"] and "kill" in found["faults"]
    assert json.loads(lab(capsys, "validate", "--schema")[1])["type"] == "object"


@pytest.mark.parametrize("name", ["worker_churn", "worker_churn.yaml", "scenarios/worker_churn.yaml"])
def test_a_scenario_has_many_names(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert library.find("scenarios", name).name == "worker_churn.yaml"


def test_help_does_not_wait_for_what_it_does_not_need():
    heavy = "{'pydantic', 'rich', 'yaml', 'psutil'}"
    code = f"import sys, dsjq_lab.cli; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_bug_of_the_lab_accuses_nobody(stored, capsys, monkeypatch):
    monkeypatch.setattr(results, "judged", lambda run: {}["bug"])
    code, _, err = lab(capsys, "judge", stored(green()))
    assert code == 3
    assert "a bug in the lab" in err and "KeyError" in err
