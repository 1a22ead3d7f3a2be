"""The doctor finds what is there, and has a cure for what is not."""

import json
from pathlib import Path

import pytest

from dsjq_lab import cli, doctor
from dsjq_lab.brokers.real import KINDS


def test_it_looks_at_everything_and_always_ends_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--json"]) == 0
    found = {finding["what"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert set(KINDS) | {"Python", "strace", "greenlet", "browser"} <= set(found)
    assert found["Python"]["here"]


def test_what_is_missing_has_a_cure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert cli.main(["doctor"]) == 0
    told = capsys.readouterr().out.splitlines()
    place = next(number for number, line in enumerate(told) if line.startswith("NO   nats"))
    assert "--broker nats" in told[place]
    assert told[place + 1].split("cure: ")[1] == "apt-get install nats-server"


def test_a_tool_that_is_there_and_forbidden_is_not_counted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    forbidden = tmp_path / "strace"
    forbidden.write_text("#!/bin/sh\necho not allowed >&2; exit 1\n")
    forbidden.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = doctor.tracing()
    assert not found.here and found.detail == "not allowed" and "--cap-add SYS_PTRACE" in found.cure
