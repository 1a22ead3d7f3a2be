"""`show`, `compare`, what a run leaves behind, and runs as values in a notebook."""

import base64
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType

import pytest
from histories import Told
from stories import hostile, lost_replies, zombie_ack

from dsjq_lab import cli, load_run

SCENARIO = "scenario: 1\ntitle: Told\nstory: Told.\nload:\n  jobs: 1\nfocus: [no_lost_job]\n"


def needs(module: str) -> ModuleType:
    """The extra `notebooks`, without which this is skipped, but not in CI."""
    if os.environ.get("CI"):
        __import__(module)
    return pytest.importorskip(module)


@pytest.fixture
def store(tmp_path: Path):
    def store(told: Told, name: str = "run") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "scenario.yaml").write_text(SCENARIO)
        told.write(folder / "history.jsonl")
        return folder

    return store


def lab(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = cli.main(list(map(str, words)))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


# -- What a run leaves behind


def test_a_judged_run_leaves_its_pictures(store, capsys):
    folder = store(lost_replies())
    lab(capsys, "judge", folder)
    assert ET.parse(folder / "trace.svg").getroot().tag.endswith("svg")
    assert "Told" in (folder / "report.html").read_text()


def test_a_failed_run_prints_its_slice(store, capsys):
    code, out, _ = lab(capsys, "judge", store(zombie_ack()))
    ladder = [line for line in out.splitlines() if "|--" in line or "--|" in line or "->|" in line]
    assert code == 1 and len(ladder) >= 6
    assert any("IN_FLIGHT |--" in line for line in ladder)
    assert "report.html" in out


# -- show


def test_show_draws_on_the_terminal_what_led_to_the_violation(store, capsys):
    code, out, _ = lab(capsys, "show", store(zombie_ack()))
    assert code == 0
    assert out.startswith("no_stale_ack violated") and "paused (exact)" in out


def test_show_draws_one_job_or_one_moment(store, capsys):
    told = zombie_ack()
    told.submit("b")
    folder = store(told)
    _, out, _ = lab(capsys, "show", folder, "--job", "b")
    assert "SUBMIT b" in out and "SUBMIT a" not in out
    _, out, _ = lab(capsys, "show", folder, "--around", "1")
    (marked,) = (line for line in out.splitlines() if line.endswith("<--"))
    assert "SUBMIT a" in marked


def test_show_writes_files(store, capsys, tmp_path):
    folder = store(zombie_ack())
    svg, html, log = tmp_path / "a.svg", tmp_path / "a.html", tmp_path / "a.log"
    code, out, _ = lab(
        capsys, "show", folder, "--svg", svg, "--html", html, "--export", "shiviz", log
    )  # fmt: skip
    assert code == 0 and out.split() == [str(svg), str(html), str(log)]
    ET.parse(svg)
    assert "Content-Security-Policy" in html.read_text()
    assert log.read_text().startswith("(?<host>")


def test_show_as_json(store, capsys):
    code, out, _ = lab(capsys, "show", store(zombie_ack()), "--json")
    shown = json.loads(out)
    assert code == 0 and shown["events"][0]["text"] == "SUBMIT a"
    assert [event["text"] for event in shown["events"] if event["note"] is not None][-1] == "OK"


@pytest.mark.parametrize("words", [
    ["--job", "nope"], ["--around", "99"], ["--export", "shivis", "f"], ["--svg", "/nowhere/f.svg"],
])  # fmt: skip
def test_show_says_what_it_cannot(store, capsys, words):
    code, out, err = lab(capsys, "show", store(zombie_ack()), *words)
    assert code == 2 and not out and words[1] in err


def test_show_does_not_let_payloads_steer_the_terminal(store, capsys):
    _, out, _ = lab(capsys, "show", store(hostile()))
    assert "\x1b" not in out and "\u202e" not in out


def test_png(store, capsys, tmp_path):
    needs("resvg_py")
    code, _, _ = lab(capsys, "show", store(zombie_ack()), "--png", tmp_path / "a.png")
    assert code == 0 and (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_without_the_extra_png_is_refused_with_the_cure(store, capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    code, _, err = lab(capsys, "show", store(zombie_ack()), "--png", tmp_path / "a.png")
    assert code == 2 and "dsjq-lab[notebooks]" in err


# -- compare


def test_compare_puts_two_runs_side_by_side(store, capsys, tmp_path):
    one, other = store(zombie_ack(), "one"), store(lost_replies(), "other")
    code, out, _ = lab(capsys, "compare", one, other, "--html", tmp_path / "both.html")
    rows = {line.split("  ")[0]: line.split()[1:] for line in out.splitlines()}
    assert code == 0 and rows["no_stale_ack"] == ["violated", "holds"]
    assert "no_stale_ack" in (tmp_path / "both.html").read_text()


# -- In a notebook


def test_a_run_shows_itself(store):
    needs("resvg_py")
    told = load_run(str(store(zombie_ack())))
    bundle = told._repr_mimebundle_()
    ET.fromstring(bundle["image/svg+xml"])
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")
    assert told.outcome == "fail" and "no_stale_ack" in bundle["text/plain"]
    assert "JOB a" in told.job("a")._repr_mimebundle_()["text/plain"]
    assert "<--" in repr(told.around(1))


def test_without_the_extra_a_run_still_shows_itself(store, monkeypatch):
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    assert set(load_run(str(store(zombie_ack())))._repr_mimebundle_()) == {"text/plain", "image/svg+xml"}


def test_history_jobs_and_verdicts_are_frames(store):
    needs("pandas")
    told = load_run(str(store(zombie_ack())))
    assert list(told.history["f"][told.history["type"] == "invoke"][:2]) == ["submit", "reserve"]
    (job,) = told.jobs.to_dict("records")
    assert (job["job"], job["became"], job["deliveries"]) == ("a", "done", 2)
    assert set(told.verdicts["standing"]) >= {"holds", "violated"}


def test_a_run_is_plotted_with_its_faults(store):
    needs("matplotlib").use("agg")
    rate, delay = load_run(str(store(zombie_ack()))).plot().axes
    assert (rate.get_ylabel(), delay.get_ylabel()) == ("jobs a second", "seconds to done")
    assert len(rate.patches) == len(delay.patches) == 1


def test_a_command_line_does_not_wait_for_what_notebooks_need():
    loaded = "import sys, dsjq_lab; print(sorted(set(sys.modules) & {'pandas', 'pydantic'}))"
    out = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
