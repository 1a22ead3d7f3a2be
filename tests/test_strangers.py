"""A broker that asks who comes, in the lab: clients are let in, strangers are not, no secret is written."""
import contextlib
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from histories import Told
from playing import ROOT, ending, only, ops_of

from dsjq.extensions import routing
from dsjq_lab import live, runs
from dsjq_lab.brokers import under_study
from dsjq_lab.clients import stranger
from dsjq_lab.door import Door
from dsjq_lab.report import pictures
from dsjq_lab.results import judged
from dsjq_lab.scenario import ScenarioErrors, load
from dsjq_lab.variation import Variation
from dsjq_lab.verdict import HOLDS, NOT_APPLICABLE, UNKNOWN, VIOLATED
from dsjq_lab.workload import LineClient

STORY = ROOT / "scenarios" / "unauthenticated_clients.yaml"
SHORT = ("load.jobs=10", "load.rate=50/s", "faults=[]")


@pytest.mark.parametrize(("broker", "tls"), [("dsjq", "false"), ("dsjq-frames", "true")])
def test_no_secret_is_in_the_folder_of_a_run_nor_on_a_command_line(
    broker: str, tls: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets, command_lines = [], set()

    class Watched(Door):
        def __init__(self, **how: Any) -> None:
            super().__init__(**how)
            secrets.append(self.secret)

    def look(snapshot: object) -> None:
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended
                command_lines.add((process / "cmdline").read_text())

    monkeypatch.setattr(live, "Door", Watched)
    variation = Variation((*SHORT, f"broker.tls={tls}"))
    folder = runs.play(STORY, broker=under_study(broker, None), variation=variation, on_progress=look)
    result = judged(folder)
    pictures.keep(result, folder)
    [secret] = secrets
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert {"history.jsonl", "report.html", "broker.trace"} <= {file.name for file in files}
    assert not [file for file in files if secret.encode() in file.read_bytes()]
    assert any("clients.stranger" in line for line in command_lines)
    assert not [line for line in command_lines if secret in line]
    ops = ops_of(folder)
    assert ending(ops)["drained"] and len(only(ops, f="ack", type="ok")) == 10
    assert only(ops, f="intrude", type="fail") and not only(ops, f="intrude", type="ok")


def test_where_nobody_is_asked_for_a_name_nobody_is_a_stranger() -> None:
    command = f"python3 {ROOT / 'tests' / 'broker.py'} --port {{port}}"
    assert not under_study(None, command).has_door
    assert under_study("dsjq", None).has_door


def test_strangers_try_every_command_so_that_a_new_one_is_not_forgotten() -> None:
    tried = {question.split(" ")[0] for question in stranger.ALL}
    assert tried == {verb.decode() for verb in routing.COMMANDS} - {"PING", "QUIT"}


def test_a_control_has_no_strangers() -> None:
    assert load(STORY).strangers == 2
    assert Variation(without_faults=True).load(STORY).strangers == 0


@pytest.mark.parametrize(("changes", "complaint"), [
    (["broker.users=false"], "nobody is a stranger where nobody is asked for a name"),
    (["broker.tls=true", "faults=[{at: 1s, lose_reply: worker 1}]"], "TLS keeps that from it"),
])  # fmt: skip
def test_what_does_not_fit_together(changes: list[str], complaint: str) -> None:
    with pytest.raises(ScenarioErrors, match=complaint):
        load(STORY, changes)


def test_what_a_client_is_told_of_a_refusal_has_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSJQ_LAB_SECRET", "one-two-three")
    listener = socket.create_server(("127.0.0.1", 0))

    def echo() -> None:
        conn, _ = listener.accept()
        with listener, conn:
            conn.sendall(b"ERROR NO_SUCH_COMMAND " + conn.recv(65536))

    threading.Thread(target=echo, daemon=True).start()
    with pytest.raises(OSError, match=r"AUTH worker: ERROR NO_SUCH_COMMAND$"):
        LineClient({"port": listener.getsockname()[1], "user": "worker"}, timeout_s=5.0)


@pytest.mark.parametrize(("outcome", "error", "expected"), [
    ("ok", None, VIOLATED),
    ("fail", "ERROR NO_SUCH_JOB 1", VIOLATED),
    ("fail", "ERROR STALE 1", VIOLATED),
    ("fail", "ERROR UNAUTHENTICATED say AUTH", HOLDS),
    ("fail", "ERROR FORBIDDEN not for a worker", HOLDS),
    ("fail", "ERROR TOO_MANY_CONNECTIONS", HOLDS),
    ("info", "eof", UNKNOWN),
])  # fmt: skip
def test_a_stranger_is_refused_whatever_he_asks(outcome: str, error: str | None, expected: str) -> None:
    told = Told()
    told.intrude("STATS", "STATS", outcome=outcome, error=error)
    assert told.verdict("strangers_refused").status == expected


def test_the_first_who_was_let_in_is_named() -> None:
    told = Told()
    told.intrude("KICK 1", "", outcome="fail", error="ERROR UNAUTHENTICATED")
    told.intrude("KICK 1", "OK")
    told.intrude("STATS", "STATS")
    verdict = told.verdict("strangers_refused")
    assert (verdict.summary, verdict.count) == ("stranger 1, before AUTH, asked KICK 1: OK", 2)
    assert Told().verdict("strangers_refused").status == NOT_APPLICABLE
