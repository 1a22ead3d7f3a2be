"""What is in the book is not played again; what was played with other sources is no evidence of these."""
from pathlib import Path

import pytest

from dsjq_lab import logbook
from dsjq_lab.logbook import Logbook
from dsjq_lab.repeat import Play, Run


def run(seed: int) -> Run:
    return Run(seed, 0, [], 1.0, f"runs/{seed}", "")


PLAYS = [Play(("run", "first_job"), seed) for seed in (1, 2, 3)]


@pytest.fixture
def played(monkeypatch) -> list[Play]:
    """The plays that a lab was started for."""
    started: list[Play] = []

    def play_all(plays, jobs):
        for play in plays:
            started.append(play)
            yield play, run(play.seed)

    monkeypatch.setattr(logbook, "played", play_all)
    return started


def test_a_series_goes_on_where_it_was_interrupted(tmp_path, played):
    path = tmp_path / "new" / "book"
    series = Logbook(path).played(PLAYS, 1)
    assert next(series) == (PLAYS[0], run(1))
    series.close()
    assert list(Logbook(path).played(PLAYS, 1)) == [(play, run(play.seed)) for play in PLAYS]
    assert played == PLAYS, "none of them twice"


def test_a_torn_line_is_cut_off_and_its_run_played_again(tmp_path, played):
    path = tmp_path / "book"
    list(Logbook(path).played(PLAYS[:2], 1))
    path.write_bytes(path.read_bytes()[:-9])
    assert list(Logbook(path).known) == PLAYS[:1]
    list(Logbook(path).played(PLAYS[:2], 1))
    assert played[2:] == [PLAYS[1]] and len(path.read_text().splitlines()) == 2


def test_runs_of_another_program_are_played_again(tmp_path, monkeypatch, played):
    path = tmp_path / "book"
    list(Logbook(path).played(PLAYS, 1))
    monkeypatch.setattr(logbook, "fingerprint", lambda: "another")
    list(Logbook(path).played(PLAYS, 1))
    assert played == 2 * PLAYS


def test_a_line_of_the_broker_is_part_of_the_fingerprint(tmp_path, monkeypatch):
    before = logbook.fingerprint()
    monkeypatch.chdir(tmp_path)
    Path("zoo").mkdir()
    Path("zoo/p01.py").write_text("another\n")
    assert logbook.fingerprint() != before
