"""Each fault of the network on real processes: it bites, it ends, and the clients see what it says."""
import sys

import pytest
from playing import FOUR_COMMANDS, came_to_rest, ending, only, ops_of, scenario

from dsjq_lab import results, runs
from dsjq_lab.brokers import Command
from dsjq_lab.history import Op
from dsjq_lab.report.telling import trace
from dsjq_lab.report.trace import DELIVERED, LOST, UNKNOWN
from dsjq_lab.variation import Variation


@pytest.fixture
def play(tmp_path):
    """Plays a scenario with these faults; its history. The reference is innocent, whatever happens."""
    def played(faults: str, **options) -> list[Op]:
        folder = runs.play(scenario(tmp_path, faults, **options))
        ops = ops_of(folder)
        assert came_to_rest(ops), ending(ops)
        assert not [ruling for ruling in results.judged(folder).rulings if ruling.standing == "violated"]
        return ops
    return played


def phases(ops: list[Op], verb: str) -> list[Op]:
    strikes = only(ops, process="nemesis", f=verb)
    assert [op.value["phase"] for op in strikes] == ["begin", "struck", "end"]
    return strikes


def errors(ops: list[Op], begin: Op, **wanted: str) -> list[str | None]:
    his = only(ops, process=begin.value["victim"], **wanted)
    return [op.error for op in his if op.time_ns > begin.time_ns]


def test_a_partition_holds_what_is_said_until_it_ends(play):
    ops = play("[{when: {before_ack: 2}, partition: that worker, until: {redelivered: that job}}]")
    begin, struck, _ = phases(ops, "partition")
    assert begin.value["exact"] and struck.value["held_bytes"] > 0
    assert errors(ops, begin, f="ack", type="info")[:1] == ["timeout"]


@pytest.mark.parametrize(("direction", "end", "deliveries"), [
    ("up", "until: {redelivered: that job}", 2),
    ("down", "for: 300ms", 1),  # the ACK arrived, only its answer did not
])
def test_a_partition_may_be_one_way(play, direction, end, deliveries):
    ops = play(f"[{{when: {{before_ack: 2}}, partition: that worker, direction: {direction}, {end}}}]")
    begin, *_ = phases(ops, "partition")
    job = next(op for op in only(ops, f="ack", type="info") if op.time_ns > begin.time_ns).value["job"]
    assert len([op for op in only(ops, f="reserve", type="ok") if op.value.get("job") == job]) == deliveries


def test_the_broker_waits_for_a_client_that_is_gone(play):
    ops = play("[{when: {before_ack: 2}, half_open: that worker, until: {redelivered: that job}}]")
    begin, struck, end = phases(ops, "half_open")
    assert struck.value["connections"] == 1
    assert end.time_ns - begin.time_ns > 300_000_000  # only the end of the lease gave the job back


def test_a_slow_line_delays_all_that_is_said(play):
    ops = play("[{when: {acked: 1}, latency: all workers, by: 40ms, jitter: 10ms, for: 500ms}]", rate="20/s")
    strikes = only(ops, f="latency")
    assert [op.value["phase"] for op in strikes].count("struck") == 2
    after = strikes[-1].time_ns
    slow = [op for op in only(ops, f="ack", type="ok") if strikes[1].time_ns < op.time_ns < after]
    assert slow


def test_a_thin_line_lets_all_through_in_time(play):
    ops = play("[{at: 0s, bandwidth: producer 1, to: 400B/s, for: 500ms}]", rate="20/s", payload="100B")
    assert phases(ops, "bandwidth")[1].value["slowed_bytes"] > 0


@pytest.mark.parametrize("fault", ["slice: broker, into: 3B", "coalesce: broker"])
def test_how_bytes_are_grouped_means_nothing(play, fault):
    ops = play(f"[{{at: 0s, {fault}, for: 500ms}}]", rate="20/s")
    assert only(ops, process="nemesis")[1].value["phase"] == "struck"
    assert len(only(ops, f="ack", type="ok")) == 6
    assert not only(ops, type="info", f="ack") and not only(ops, type="fail", f="submit")


def test_flipped_bits_are_refused_or_not_understood(play):
    ops = play("[{at: 0s, corrupt: worker 1, probability: 0.5, for: 1s}]", rate="20/s", jobs=20)
    begin, *_ = phases(ops, "corrupt")
    said = errors(ops, begin, type="fail") + errors(ops, begin, type="info")
    assert any(error and error.startswith(("ERROR UNKNOWN_COMMAND", "garbage")) for error in said)


def test_a_reset_is_heard_of_at_once(play):
    ops = play("[{when: {before_ack: 2}, reset: that worker}]")
    begin, struck, _ = phases(ops, "reset")
    assert struck.value["connections"] == 1
    assert errors(ops, begin, f="ack", type="info")[:1] == ["reset"]


def test_half_a_line_is_no_command(play):
    ops = play("[{when: {before_ack: 2}, cut: that worker, direction: up}]")
    begin, struck, _ = phases(ops, "cut")
    assert struck.value["cut_bytes"] > 0
    assert errors(ops, begin, f="ack", type="info")[0] in ("eof", "reset")


@pytest.mark.parametrize(("moment", "victim", "to"), [
    ("before_ack", "that worker", "ack"), ("submitted", "that producer", "submit"),
])
def test_the_answer_to_one_command_is_lost(play, moment, victim, to):
    ops = play(f"[{{when: {{{moment}: 2}}, lose_reply: {victim}, to: {to}}}]")
    begin, struck, _ = phases(ops, "lose_reply")
    assert struck.value["lost_bytes"] > 0
    assert errors(ops, begin, f=to, type="info") == ["timeout"]


def test_one_who_does_not_read_is_nobody_elses_trouble(play):
    ops = play("[{at: 0s, slow_reader: broker, for: 500ms}]", rate="10/s")
    assert phases(ops, "slow_reader")[1].value["sent_bytes"] > 0
    assert not only(ops, type="info", f="ack")


def test_strangers_come_and_go(play):
    ops = play("[{when: {acked: 1}, storm: broker, connections: 50}]", rate="20/s")
    assert phases(ops, "storm")[1].value["connections"] == 50


def test_a_disturbance_that_disturbs_nothing_is_missed(tmp_path):
    faults = "[{at: 0s, slice: worker 1, probability: 0, for: 100ms}]"
    folder = runs.play(scenario(tmp_path, faults, finish_within="4s"))
    assert only(ops_of(folder), process="nemesis")[-1].value["phase"] == "missed"
    assert "1 of 1 planned faults did not take effect: slice worker 1" in str(results.judged(folder).unproven)


# -- Its record


@pytest.fixture
def black_box(tmp_path):
    file = tmp_path / "four_commands.py"
    file.write_text(FOUR_COMMANDS)
    return Command(f"{sys.executable} {file} --port {{port}}")


def test_of_a_black_box_the_picture_tells_which_answer_was_lost(tmp_path, black_box):
    path = scenario(tmp_path, "[{when: {before_ack: 2}, lose_reply: that worker, to: ack}]")
    folder = runs.play(path, broker=black_box)
    (ack,) = only(ops_of(folder), f="ack", type="info")
    story = trace(results.judged(folder).model)
    assert UNKNOWN not in {message.fate for message in story.messages}
    (heard,) = story.told_by([ack.index])  # a time-out
    served = story.events[story.sent[heard.call].target]
    assert (served.lane, served.state) == ("broker", "DONE")
    assert story.sent[served.index].fate == LOST


def test_a_network_without_faults_is_recorded_if_the_scenario_says_so(tmp_path, black_box):
    folder = runs.play(scenario(tmp_path, "[]"), broker=black_box, variation=Variation(("network=record",)))
    lines = {op.value["line"].split(" ")[0] for op in only(ops_of(folder), process="network", f="message")}
    assert lines == {"SUBMIT", "JOB_ID", "REQUEST", "JOB", "EMPTY", "ACK", "OK"}
    assert results.judged(folder).outcome == "pass"
    assert {message.fate for message in trace(results.judged(folder).model).messages} == {DELIVERED}
