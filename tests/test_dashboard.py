"""The broker's web page and its figures: what they show, in a real browser too, and what they withstand."""
import contextlib
import json
import re
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from browser import Browser, browser
from playing import scenario
from stories import HOSTILE
from test_server import DEADLINE_S, serving_process, until

from dsjq import messages as m
from dsjq.broker import Broker, Session
from dsjq.client import Connection
from dsjq.extensions import dashboard
from dsjq.extensions.dashboard import Seen, Watch, Web
from dsjq.extensions.journal import Journal
from dsjq.store import MemoryStore, Store
from dsjq_lab import runs
from dsjq_lab.brokers import Command

TEXT = "document.body.innerText"
FIGURES = ("Object.fromEntries([...document.querySelectorAll('dl div')].map("
           "box => [...box.children].map(told => told.textContent)))")


class Shown:
    """A broker and its page."""

    def __init__(self, store: Store | None = None, **options: Any):
        self.seen = Seen(store or MemoryStore())
        self.broker = Broker(store=self.seen, **options)
        self.web = Web(Watch(self.broker, self.seen), "127.0.0.1", 0)

    def do(self, session: Session, *commands: m.Command) -> None:
        for command in commands:
            assert not isinstance(self.broker.execute(command, session), m.Error)

    def get(self, path: str, host: str | None = None, method: str = "GET") -> tuple[int, str, Any]:
        headers = {} if host is None else {"Host": host}
        request = urllib.request.Request(self.web.url + path, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE_S) as reply:
                return reply.status, reply.read().decode(), reply.headers
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode(), refused.headers

    def look(self) -> Any:
        return json.loads(self.get("state")[1])

    def metrics(self) -> dict[str, float]:
        told = (line.rsplit(" ", 1) for line in self.get("metrics")[1].splitlines() if line[0] != "#")
        return {name: float(value) for name, value in told}


@pytest.fixture
def shown() -> Iterator[Callable[..., Shown]]:
    with contextlib.ExitStack() as stack:
        def shown(*arguments: Any, **options: Any) -> Shown:
            made = Shown(*arguments, **options)
            stack.callback(made.web.server_close)
            stack.callback(made.web.shutdown)
            return made
        yield shown


@pytest.fixture(scope="module")
def tab() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


def sees(tab: Browser, words: str) -> None:
    until(lambda: words in tab.value(TEXT))


# ---- What is told


def test_each_state_each_worker_each_lease(shown):
    shown = shown(ack_timeout_s=30.0, max_attempts=1)
    ann, ben = shown.broker.connect(), shown.broker.connect()
    shown.do(ann, m.Hello("ann"), m.Submit(b"one"), m.Submit(b"two", priority=-1), m.Submit(b"three"),
             m.Submit(b"later", delay_s=60), m.Reserve(), m.Reserve(), m.Ack(2), m.Fail(1), m.Reserve())
    look = shown.look()
    assert look["states"] == {"delayed": 1, "pending": 0, "in_flight": 1, "failed": 0, "done": 1, "dead": 1}
    assert (look["submitted"], look["deliveries"], look["requeued"]) == (4, 3, 0)
    assert look["ended"] == {"acked": 1, "failed": 1, "released": 0, "disconnect": 0, "expiry": 0}
    first, second = look["workers"]
    assert (first["name"], first["state"], list(first["jobs"])) == ("ann", "working", ["3"])
    assert 0 < first["jobs"]["3"] <= 30
    assert second == {"name": ben.name, "state": "up", "jobs": {}, "hung": None}
    jobs = {job["id"]: job for job in look["jobs"]}
    assert [jobs[id]["state"] for id in (1, 3, 4)] == ["DEAD", "IN_FLIGHT", "DELAYED"]
    assert jobs[1]["left_s"] is None and 0 < jobs[4]["left_s"] <= 60 and jobs[3]["payload"] == "three"


def test_a_worker_whose_lease_ran_out_hangs_until_it_asks_again(shown):
    shown = shown(ack_timeout_s=0.02)
    ann, ben = shown.broker.connect(), shown.broker.connect()
    shown.do(ann, m.Submit(b"x"), m.Reserve())
    until(lambda: shown.look()["workers"][0]["state"] == "hung")  # though nothing has taken it away yet
    assert shown.look()["states"]["in_flight"] == 1
    shown.do(ben, m.Reserve(wait_s=DEADLINE_S))
    state = {worker["name"]: (worker["state"], worker["hung"]) for worker in shown.look()["workers"]}
    assert state[ann.name] == ("hung", 1)
    assert shown.look()["ended"]["expiry"] >= 1
    shown.broker.disconnect(ben)
    shown.do(ann, m.Reserve(wait_s=DEADLINE_S))
    assert shown.look()["workers"][0]["hung"] is None


def test_the_age_of_the_oldest_pending_job(shown, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(dashboard.time, "monotonic", lambda: now[0])
    shown = shown()
    session = shown.broker.connect()
    watch = Watch(shown.broker, shown.seen)
    assert watch.look()["oldest_pending_s"] is None
    for moment in (1010.0, 1020.0):
        now[0] = moment
        shown.do(session, m.Submit(b"x"))
    now[0] = 1100.0
    assert watch.look()["oldest_pending_s"] == 90.0
    shown.do(session, m.Reserve())
    assert watch.look()["oldest_pending_s"] == 80.0


def test_rates_are_those_of_the_last_seconds(shown, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(dashboard.time, "monotonic", lambda: now[0])
    shown = shown()
    session, watch = shown.broker.connect(), Watch(shown.broker, shown.seen)
    assert watch.look()["rates"]["submitted"] == 0.0
    shown.do(session, *[m.Submit(b"x")] * 6)
    now[0] = 1002.0
    assert watch.look()["rates"] == {"submitted": 3.0, "deliveries": 0.0, "done": 0.0}


def test_the_figures_for_prometheus(shown):
    shown = shown()
    session = shown.broker.connect()
    shown.do(session, m.Submit(b"x"), m.Submit(b"y"), m.Reserve(), m.Ack(1))
    status, text, headers = shown.get("metrics")
    assert status == 200 and headers["Content-Type"] == "text/plain; version=0.0.4"
    line = re.compile(r'# (HELP|TYPE) dsjq_[a-z_]+ .+|dsjq_[a-z_]+(\{[a-z]+="[a-z_]+"\})? [0-9.]+')
    assert all(line.fullmatch(told) for told in text.splitlines()) and text.endswith("\n")
    metrics = shown.metrics()
    assert metrics['dsjq_jobs{state="pending"}'] == 1 and metrics["dsjq_submitted_total"] == 2
    assert metrics['dsjq_leases_ended_total{why="acked"}'] == 1
    assert metrics['dsjq_connections{state="up"}'] == 1


def test_a_page_does_not_keep_the_broker_from_its_store(shown, tmp_path):
    with contextlib.closing(Journal(tmp_path)) as store:
        made = shown(store)
        made.do(made.broker.connect(), m.Submit(b"kept"))
    with contextlib.closing(Journal(tmp_path)) as store:
        made = shown(store)
        assert made.look()["jobs"][0]["payload"] == "kept" and made.look()["oldest_pending_s"] < DEADLINE_S


# ---- Who may look, and no more than look


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "localhost.evil", "[", ""])
def test_who_asks_by_a_foreign_name_is_told_nothing(shown, host):
    made = shown()
    made.do(made.broker.connect(), m.Submit(b"secret"))
    for path in ("", "state", "metrics", "events"):
        status, text, _ = made.get(path, host)
        assert status == 403 and "secret" not in text


@pytest.mark.parametrize("host", ["localhost:1234", "127.0.0.1", "[::1]:80"])
def test_who_asks_by_address_is_answered(shown, host):
    assert shown().get("state", host)[0] == 200


def test_it_is_read_only(shown):
    made = shown()
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert made.get("state", method=method)[0] == 501
    assert made.get("nothing")[0] == 404


def test_visitors_have_a_limit(shown, monkeypatch):
    monkeypatch.setattr(dashboard, "VISITORS_MAX", 1)
    made = shown()
    with urllib.request.urlopen(made.web.url + "events", timeout=DEADLINE_S) as first:
        assert first.readline().startswith(b"data: ")
        with pytest.raises((urllib.error.URLError, ConnectionError)):
            made.get("state")


def test_dsjq_serve_says_where_the_page_is_and_ends_with_it():
    with serving_process("--web", "0") as (process, _):
        found = re.fullmatch(r"web page on (http://127\.0\.0\.1:\d+/)\n", process.stdout.readline())
        with urllib.request.urlopen(found[1] + "events", timeout=DEADLINE_S) as watching:
            assert watching.readline().startswith(b"data: ")
            process.terminate()
            assert process.wait(DEADLINE_S) == 0


# ---- In a browser


@pytest.mark.parametrize("payload", [
    b"<script>document.title = 'owned'</script><img src=x onerror=\"document.title='owned'\">",
    HOSTILE.encode(), bytes(range(256)), (1 << 20) * b"x",
    "\u202eabc \u0645\u0631\u062d\u0628\u0627".encode()])
def test_a_hostile_payload_is_text(tab, shown, payload):
    made = shown()
    session = made.broker.connect()
    made.do(session, m.Hello("</td><script>1"), m.Submit(payload), m.Submit(b"the next"))
    tab.open(made.web.url)
    sees(tab, "the next")
    assert tab.value("document.title") == "dsjq"
    assert tab.value("document.querySelectorAll('td script, td img').length") == 0
    text = tab.value(TEXT)
    assert "</td><script>1" in text and len(text) < 3000
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    assert not tab.errors


def test_the_policy_forbids_every_other_script(tab, shown):
    made = shown()
    tab.open(made.web.url)
    sees(tab, "pending")
    tab.value("document.body.append(Object.assign(document.createElement('script'), "
              "{textContent: 'document.title = 1'}))")
    assert tab.value("document.title") == "dsjq"
    assert tab.value("fetch('https://example.org').then(() => 'went', () => 'blocked')") == "blocked"


def test_the_page_goes_on_by_itself_and_says_when_the_broker_is_gone(tab):
    with serving_process("--web", "0") as (process, address):
        url = process.stdout.readline().split()[-1]
        tab.open(url)
        sees(tab, "live, as of")
        with contextlib.closing(Connection(*address)) as client:
            client.call(m.Submit(b"while it was open"))
            sees(tab, "while it was open")
            assert tab.value("document.querySelectorAll('dd.changed').length") > 0
        process.terminate()
        sees(tab, "the broker does not answer")


def test_while_a_scenario_runs(tab, tmp_path):
    serve = "-m dsjq serve --port {port} --ack-timeout {ack_timeout}s --web 0"
    path = scenario(tmp_path, "[{kill: worker 1, when: {acked: 2}, restart_after: 50ms}]", jobs=40,
                    workers={"work_time": "100ms"})
    seen: list[dict[str, str]] = []

    def watch() -> None:
        until(lambda: addresses())
        tab.open(addresses()[0])
        until(lambda: seen.append(tab.value(FIGURES)) or "does not answer" in tab.value(TEXT))

    def addresses() -> list[str]:
        logs = runs.root().glob("story/*/logs/*.log")
        return [told for log in logs for told in re.findall(r"web page on (\S+)", log.read_text())]

    thread = threading.Thread(target=watch)
    thread.start()
    runs.play(path, broker=Command(f"{sys.executable} {serve}"))
    thread.join(DEADLINE_S)
    assert not thread.is_alive()
    assert all("ERR_CONNECTION" in error for error in tab.errors)  # when the broker had gone
    assert {"1", "2"} & {look.get("in flight") for look in seen}
    assert len({look.get("done") for look in seen}) > 2
    assert seen[-1]["submitted"] == "40"
