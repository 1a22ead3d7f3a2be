"""What the explorer tells of each planted race: shrunk to little, in a dozen lines, by the guilty one."""
from pathlib import Path

import pytest
import yaml

from dsjq_lab.brokers import Dsjq
from dsjq_lab.sim import stored
from dsjq_lab.sim.experiment import Experiment
from dsjq_lab.sim.search import Search
from dsjq_lab.sim.visits import Visit, Visits
from dsjq_lab.variation import Variation

ROOT = Path(__file__).parent.parent
ANSWERS = yaml.safe_load((ROOT / "zoo" / "answers.yaml").read_text())
GUILTY = {  # a line that must be told
    "p01": "time.sleep(LOOK_UP_S)",
    "p02": 'apply(queue, Requeued(id, "permit"))',
    "p03": "with self.ledger_lock:",
    "p04": "return Empty()",
    "p05": 'apply(self.queue, Requeued(job.id, "moved"))',
    "p07": "self.execute(Submit(payload), session)",
    "p08": 'self._record([Requeued(job.id, "expiry")])',
    "p09": "self.server.broker.sessions.pop(self.session.id)",
    "p11": "self._record([Delivered(job.id, session.id,",
    "p12": "return super()._turn(Ack(job.id), self.sessions[job.holder])",
    "p15": "time.sleep(INTERVAL_S)",
    "p19": 'os.replace(self.folder / "journal.new", self.path)',
    "p20": "self.end += len(data)",
}


def patient(name: str) -> Search:
    answer = ANSWERS[name]
    played = Variation(tuple(answer.get("set", ()))).load(ROOT / "scenarios" / f"{answer['run']}.yaml")
    experiment = Experiment(played, Dsjq(ROOT / "zoo" / f"{name}.py"))
    return Search(experiment, wanted=[*answer["caught_by"], "deadlock"])


@pytest.mark.parametrize("name", GUILTY)
def test_the_story_of_a_planted_race_is_short_and_names_the_guilty_line(name):
    search = patient(name)
    failure = search.until(lambda: search.runs >= 20)
    assert failure is not None
    assert len(failure.schedule) <= 8
    told = stored.story(*stored.tell(failure.experiment, failure.schedule))
    assert len(told) <= stored.STORY_MAX
    assert any(f"{name}.py:" in line and GUILTY[name] in line for line in told)


def test_threads_that_die_alike_are_told_once_and_by_a_line_of_the_broker(tmp_path):
    broker = tmp_path / "broker.py"
    broker.write_text("import sys\nfrom dsjq import broker, cli\n"
                      "def unlocked(self, command, session):\n"
                      "    return self._turn(command, session)[0]\n"
                      "broker.Broker.execute = unlocked\n"
                      "cli.main(['serve', *sys.argv[1:]])\n")
    experiment = Experiment(Variation().load(ROOT / "scenarios" / "first_job.yaml"), Dsjq(broker))
    told = stored.story(*stored.tell(experiment, []))
    died = [line for line in told if "died at broker.py:" in line]
    assert len(died) == 1 and "more, died" in died[0] and "un-acquired lock" in died[0]
    assert len(told) <= stored.STORY_MAX


def visited(*passed: tuple[int, str, str]) -> Visits:
    visits = Visits()
    for switches, (moment, task, spot) in enumerate(passed):
        visits.note(Visit(moment, task, spot, ""), switches)
    return visits


def test_of_the_lines_before_the_proof_the_rare_ones_are_told():
    often = ((moment, "one", "often") for moment in range(9))
    visits = visited(*often, (10, "one", "once"), (20, "one", "late"))
    assert [visit.spot for visit in visits.telling(0, 15, most=2)] == ["once"]
    assert [visit.spot for visit in visits.telling(15, 30, most=2)] == ["late"]
    assert [visit.spot for visit in visits.telling(30, 40, most=1)] == ["late"]  # nothing since: earlier ones
    assert visits.telling(0, 15, most=0) == []


def test_before_what_never_came_the_last_line_is_told_even_if_it_is_common():
    visits = visited((1, "one", "once"), *((moment, "two", "often") for moment in range(2, 9)))
    assert [(visit.time_ns, visit.spot) for visit in visits.telling(0, None, most=4)] == [
        (1, "once"), (8, "often"),
    ]
    assert [visit.spot for visit in visits.last(["two", "nobody"])] == ["often"]


def test_a_line_with_several_points_is_passed_once():
    visits = Visits()
    for moment in (1, 1, 2):
        visits.note(Visit(moment, "one", "here", ""), switches=0)
    assert (visits.counts["here"], len(visits.stretches)) == (1, 1)
