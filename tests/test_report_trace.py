"""The trace: what is read out of a history, and what led to what."""

import xml.etree.ElementTree as ET
from collections import Counter
from itertools import combinations

import pytest
from generated_histories import generate, plan
from histories import MS, Told
from stories import STORIES, lost_replies, traced, zombie_ack

from dsjq_lab.model import Model
from dsjq_lab.report import diagram, ladder
from dsjq_lab.report.telling import lane_order, trace
from dsjq_lab.report.trace import DELIVERED, LOST, UNKNOWN, Event, Trace, abridged

TOLD = {name: lambda tell=tell: tell().model() for name, tell in STORIES.items()}
GENERATED = {  # of a queue that is right by construction, in a world that is not
    f"seed {seed}": lambda seed=seed: Model(generate(plan(seed))) for seed in range(12)
}
every_model = pytest.mark.parametrize("model", [*TOLD.values(), *GENERATED.values()], ids=[*TOLD, *GENERATED])


def said(story: Trace, lane: str) -> list[tuple[str, str]]:
    return [(event.kind, event.text) for event in story.events if event.lane == lane]


def find(story: Trace, lane: str, text: str) -> Event:
    return next(event for event in story.events if (event.lane, event.text) == (lane, text))


def test_a_call_is_three_events_and_two_messages():
    told = Told()
    told.submit("a", at=(5, 9))
    story = trace(told.model())
    asked, served, heard = story.events
    assert [event.kind for event in story.events] == ["ask", "serve", "hear"]
    assert [(asked.lane, asked.text), (heard.lane, heard.text)] == [
        ("producer 1", "SUBMIT a"), ("producer 1", "JOB_ID a"),
    ]  # fmt: skip
    assert (served.lane, served.state, served.measured) == ("broker", "PENDING", False)
    assert asked.time_ns <= served.time_ns <= heard.time_ns
    assert [(message.source, message.target) for message in story.messages] == [(0, 1), (1, 2)]


@every_model
def test_no_effect_comes_before_its_cause(model):
    story = trace(model())
    assert [event.index for event in story.events] == list(range(len(story.events)))
    times = [event.time_ns for event in story.events]
    assert times == sorted(times)
    assert all(message.target is None or message.source < message.target for message in story.messages)
    assert len(story.sent) == len(story.messages)
    calls = Counter(event.call for event in story.events if event.kind == "ask")
    assert calls.keys() == {event.index for event in story.events if event.kind == "ask"}
    assert all(band.begin_ns <= band.end_ns and band.lane in story.lanes for band in story.bands)


@every_model
def test_whatever_happened_can_be_drawn(model):
    story = trace(model())
    ET.fromstring(diagram.draw(story, story.events, "All of it"))
    assert len(list(ladder.draw(story, story.events))) > len(story.events) / 2


def test_a_job_is_taken_before_it_is_given_out_though_its_producer_hears_it_late():
    told = Told()
    told.submit("a", at=(0, 20))
    told.reserve("worker 1", "a", at=(5, 9))
    story = trace(told.model())
    taken, given = (event for event in story.events if event.kind == "serve")
    assert (taken.state, given.state) == ("PENDING", "IN_FLIGHT")
    assert taken.index < given.index


def test_lanes_are_in_the_order_in_which_jobs_travel():
    lanes = ["worker 10", "auditor", "worker 9", "ledger", "broker", "producer 1", "visitor"]
    assert sorted(lanes, key=lane_order) == [
        "producer 1", "broker", "worker 9", "worker 10", "auditor", "ledger", "visitor",
    ]  # fmt: skip


# -- Lost messages, and proof of what nobody heard


def test_messages_that_were_lost_and_those_of_which_nobody_knows():
    story = trace(lost_replies().model())
    stray = {(story.events[m.source].text, m.lane, m.fate) for m in story.messages if m.target is None}
    assert stray == {
        ("SUBMIT a", "producer 1", LOST),  # the job came to light, so only the answer was lost
        ("SUBMIT b", "broker", LOST),  # there was nobody
        ("ACK a", "broker", UNKNOWN),  # its sender was killed
    }


def test_the_brokers_own_trace_tells_the_moment_and_what_nobody_heard():
    story = trace(traced().model())
    moments = [
        (event.time_ns // 1_000_000, event.state, event.measured) for event in story.events
        if event.lane == "broker"
    ]  # fmt: skip
    assert moments == [
        (12, "PENDING", True), (21, "IN_FLIGHT", True), (25, "PENDING", True), (41, "IN_FLIGHT", True),
        (52, "DONE", True),
    ]  # fmt: skip
    assert [message.fate for message in story.messages if message.target is None] == [LOST]


def test_ids_that_a_broker_gives_out_again_after_its_death_name_the_new_job():
    told = Told()
    told.trace_start()
    told.submit("a", id="1")
    told.trace(1, "Died")
    told.fault("kill", "broker")
    told.submit("b", id="1")
    told.trace(1, "Died")
    told.end()
    deaths = [event.jobs for event in trace(told.model()).events if event.state == "DEAD"]
    assert deaths == [("a",), ("b",)]


def test_words_of_a_trace_that_nobody_knows_do_no_harm():
    told = Told()
    told.submit("a", id="1")
    told.trace(1, "Bewitched")
    told.ops[-1].value["why"] = "midnight"
    told.trace(77, "Submitted")
    told.trace(1, "Submitted")
    del told.ops[-1].value["job"]
    told.end()
    story = trace(told.model())
    strange = [(event.text, event.jobs, event.state) for event in story.events if event.kind == "clock"]
    assert strange == [("midnight", ("a",), ""), ("submitted", (), "PENDING"), ("submitted", (), "PENDING")]


# -- Faults


def test_faults_are_bands_on_their_lanes():
    hung = trace(zombie_ack().model()).bands
    assert [(band.lane, band.kind) for band in hung] == [("worker 1", "hung")]
    dead = trace(lost_replies().model()).bands
    assert [(band.lane, band.kind) for band in dead] == [("broker", "dead"), ("worker 1", "dead")]


def test_whoever_speaks_is_awake_again_though_the_lab_writes_it_down_later():
    told = Told()
    told.fault("pause", "worker 1", "begin", "struck")
    told.empty("worker 1")
    told.fault("pause", "worker 1", "end")
    kinds = [event.kind for event in trace(told.model()).events if event.lane == "worker 1"]
    assert kinds == ["hang", "heal", "ask", "hear"]


def test_a_broker_that_ends_by_itself_is_dead_until_it_is_ready_again():
    told = Told()
    told.exit("broker")
    told.now_ms = 50
    told.broker_ready()
    told.end()
    (band,) = trace(told.model()).bands
    assert (band.lane, band.kind, band.begin_ns, band.end_ns) == ("broker", "dead", 0, 50_000_000)


def test_leases_that_nobody_ended_are_over_in_the_picture_as_well():
    story = trace(zombie_ack().model())
    (over,) = (event for event in story.events if event.kind == "clock")
    assert (over.text, over.jobs, over.measured) == ("lease over (worker 1)", ("a",), False)


def test_a_touch_moves_the_end_of_a_lease():
    told = Told(ack_timeout_ms=100)
    told.submit("a")
    told.reserve("worker 1", "a", at=(10, 11))
    told.touch("worker 1", "a", at=(90, 91))
    told.now_ms = 300
    told.end()
    (over,) = (event for event in trace(told.model()).events if event.kind == "clock")
    assert over.time_ns == 190_000_000


# -- What led to what


@pytest.mark.parametrize("tell", STORIES.values(), ids=STORIES)
def test_vector_clocks_agree_with_the_paths_along_lanes_and_messages(tell):
    story = trace(tell().model())
    reached: list[set[int]] = []  # by index: all that can have led there
    for event in story.events:
        before = [other.index for other in story.events[: event.index] if other.lane == event.lane][-1:]
        before += [message.source for message in story.messages if message.target == event.index]
        reached.append(set(before).union(*(reached[index] for index in before)))
    for one, other in combinations(story.events, 2):
        assert story.happened_before(one, other) == (one.index in reached[other.index])
        assert not story.happened_before(other, one)
    for event in story.events:
        past, concurrent = story.past(event), story.concurrent(event)
        assert {other.index for other in past} == reached[event.index]
        future = [other for other in story.events if event.index in reached[other.index]]
        assert len(past) + len(concurrent) + len(future) + 1 == len(story.events)


def test_the_causes_of_a_violation_are_told_and_nothing_else():
    told = zombie_ack()
    told.submit("bystander")
    told.reserve("worker 2", "bystander")
    story = trace(told.model())
    accepted = find(story, "worker 1", "OK")
    causes = story.causes([accepted])
    assert {job for event in causes for job in event.jobs} == {"a"}
    assert find(story, "worker 1", "paused (exact)") in causes
    assert find(story, "worker 2", "ERROR STALE job a is DONE") not in causes


def test_a_life_is_told_with_the_faults_of_its_broker_but_not_of_strangers():
    story = trace(lost_replies().model())
    life = story.of_jobs(["a"])
    assert find(story, "broker", "killed (exact)") in life
    assert not [event for event in life if event.jobs == ("b",)]
    told = Told()
    told.fault("kill", "broker")
    told.fault("kill", "worker 3")
    told.submit("a")
    assert {event.kind for event in trace(told.model()).of_jobs(["a"])} == {"ask", "serve", "hear"}


def test_idle_questions_are_left_out_of_what_is_busy():
    told = Told()
    told.connect("worker 1")
    told.empty("worker 1")
    told.stats(1)
    told.submit("a")
    story = trace(told.model())
    assert {event.jobs for event in story.busy()} == {("a",)}


def test_what_is_abridged_keeps_the_beginning_and_what_comes_before_the_effect():
    told = Told()
    for number in range(40):
        told.submit(f"j{number}")
    events = trace(told.model()).events
    effect = events[80]
    short = abridged(events, [effect], 24)
    assert len(short) == 24 and short[:3] == events[:3] and effect in short
    assert short[-1].index - effect.index <= 3
    assert abridged(events[:24], [], 24) == events[:24]


# -- Where the network was overheard


def message(told: Told, client: str, direction: str, at: int, left: int | None, link: int = 1) -> None:
    value = {"client": client, "link": link, "direction": direction, "size_bytes": 6, "line": "ACK a",
             "left_ns": None if left is None else left * MS}  # fmt: skip
    told.now_ms = at
    told._op("network", "info", "message", value)


@pytest.mark.parametrize(("ways", "fates", "served_ms"), [
    ([], [UNKNOWN], None),  # nobody knows
    ([("up", 21, None)], [LOST], None),  # it never arrived
    ([("up", 21, 22)], [UNKNOWN], None),  # it did, and the broker may have read it
    ([("up", 21, 22), ("down", 23, None)], [DELIVERED, LOST], 23),  # it was answered, in vain
    ([("up", 21, 24), ("down", 26, 99)], [DELIVERED, LOST], 26),  # and too late
])
def test_the_record_of_the_network_tells_what_was_lost_on_which_way(ways, fates, served_ms):
    told = Told()
    told.submit("a")
    told.reserve("worker 1", "a")
    told.ack("worker 1", "a", at=(20, 40), outcome="info", error="timeout")
    for direction, at, left in ways:
        message(told, "worker 1", direction, at, left)
    told.now_ms = 50
    told.empty("worker 1", at=(50, 51))
    told.end()
    story = trace(told.model())
    ask = find(story, "worker 1", "ACK a")
    served = [event for event in story.events if event.call == ask.index and event.kind == "serve"]
    assert [round(event.time_ns / MS) for event in served] == [served_ms] * (served_ms is not None)
    sent = [story.sent[event.index] for event in [ask, *served]]
    assert [m.fate for m in sent] == fates
    assert "network" not in story.lanes
    verdicts = told.verdicts()
    told.ops = [op for op in told.ops if op.process != "network"]
    assert told.verdicts() == verdicts, "nobody is judged by it"
