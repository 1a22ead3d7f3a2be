"""The pictures, held by golden files. `python tests/test_report_pictures.py` draws them anew; then look.

Those in docs/pictures are of runs that were really played (tests/recorded); they stand in README and LAB.md.
"""

import re
import shutil
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from histories import Told
from stories import STORIES, hostile, lost_replies, zombie_ack

from dsjq_lab.checkers import judge
from dsjq_lab.library import NotFound
from dsjq_lab.report import diagram, ladder, view
from dsjq_lab.report import pictures as files
from dsjq_lab.report.plain import visible
from dsjq_lab.report.telling import trace
from dsjq_lab.report.view import View
from dsjq_lab.results import judged

GOLDEN = Path(__file__).parent / "golden" / "pictures"
RECORDED = sorted((Path(__file__).parent / "recorded").iterdir())
DOCS = Path(__file__).parent.parent / "docs" / "pictures"
SVG = "{http://www.w3.org/2000/svg}"


def pictures(told: Told) -> dict[str, str]:
    """What led to the first violation, or else all that was busy: as SVG and as text."""
    model = told.model()
    story = trace(model)
    shown = View("The whole run", story.busy(), {})
    for verdict in judge(model):
        if verdict.status == "violated" and verdict.ops:
            shown = view.of_verdict(verdict, story)
            break
    return {
        ".svg": diagram.draw(story, shown.events, shown.heading, shown.notes),
        ".txt": "\n".join(
            [visible(shown.heading), *ladder.draw(story, shown.events, shown.notes), ""]
        ),
    }


@pytest.mark.parametrize("name", STORIES)
def test_golden(name):
    for suffix, drawn in pictures(STORIES[name]()).items():
        assert drawn == (GOLDEN / (name + suffix)).read_text(encoding="utf-8")


def of_a_run(recorded: Path) -> dict[str, str]:
    """By day and by night: what a run shows of itself."""
    with tempfile.TemporaryDirectory() as folder:
        result = judged(Path(shutil.copytree(recorded, folder, dirs_exist_ok=True)))
    story = trace(result.model)
    drawn = files.svg(story, view.of_run(result, story))
    return {".svg": drawn, "-dark.svg": files.by_night(drawn)}


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda path: path.name)
def test_the_pictures_of_the_handbook_are_those_of_recorded_runs(recorded):
    for suffix, drawn in of_a_run(recorded).items():
        assert drawn == (DOCS / (recorded.name + suffix)).read_text(encoding="utf-8")


def test_every_picture_of_the_handbook_is_shown_there():
    root = DOCS.parent.parent
    pages = "".join((root / page).read_text(encoding="utf-8") for page in ("README.md", "LAB.md"))
    assert {path.name for path in DOCS.iterdir()} == set(re.findall(r"docs/pictures/([\w-]+\.svg)", pages))


def test_by_night_only_colours_change():
    drawn = pictures(hostile())[".svg"]
    night = files.by_night(drawn)
    assert f'="{diagram.PAPER}"' in drawn and f'="{diagram.PAPER}"' not in night
    assert texts(night) == texts(drawn) and files.by_night("say #ffffff") == "say #ffffff"


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}text")]


def words(told: Told) -> str:
    return " ".join("".join(part.itertext()) for part in ET.fromstring(pictures(told)[".svg"]).iter())


def test_a_violation_is_shown_with_what_led_to_it():
    said = words(zombie_ack())
    for expected in ("no_stale_ack violated", "paused (exact)", "resumed", "lease over (worker 1)"):
        assert expected in said


def test_the_evidence_is_marked_with_what_is_wrong():
    told = Told(ack_timeout_ms=100)
    told.submit("a")
    told.reserve("worker 1", "a")
    told.reserve("worker 2", "a")
    told.ack("worker 2", "a")
    told.end()
    assert "must not be: the other still holds it" in words(told)
    marked = [line for line in pictures(told)[".txt"].splitlines() if line.endswith("<--")]
    assert len(marked) == 2 and all("JOB a" in line for line in marked)


def test_lost_messages_and_dead_processes_are_drawn_as_such():
    root = ET.fromstring(pictures(lost_replies())[".svg"])
    titles = [title.text for title in root.iter(f"{SVG}title")]
    assert "the answer: lost" in titles and "ACK a: unknown" in titles and "broker killed" in titles
    dotted = [line for line in root.iter(f"{SVG}line") if line.get("stroke-dasharray") == "1 6"]
    assert {line.get("x1") for line in dotted} == {line.get("x2") for line in dotted} and len(dotted) == 2


@pytest.mark.parametrize("name", STORIES)
def test_rows_do_not_overlap_and_nothing_leaves_the_picture(name):
    root = ET.fromstring(pictures(STORIES[name]())[".svg"])
    _, _, width, height = map(float, root.get("viewBox", "").split())
    letter = diagram.LETTER
    for element in root.iter(f"{SVG}text"):
        x, y, said = float(element.get("x", 0)), float(element.get("y", 0)), "".join(element.itertext())
        shown = said if element.find(f"{SVG}title") is None else (element[0].tail or "")
        across = {"end": -1, "middle": 0.5}.get(element.get("text-anchor", ""), 1) * len(shown) * letter
        if element.get("font-size") is None and element.get("fill") != diagram.FAINT:
            assert min(x, x + across) >= -1 and max(x, x + across) <= width + 8, shown
        assert 0 <= y <= height
    rows = [float(dot.get("cy", 0)) for dot in root.iter(f"{SVG}circle")]
    assert len(set(rows)) == len(rows)


def test_only_presentation_attributes_and_ids_that_are_the_pictures_own():
    one, other = pictures(zombie_ack())[".svg"], pictures(lost_replies())[".svg"]
    for svg in (one, other):
        assert not re.search(r"<style|style=|class=|<script|href", svg)
        assert ET.fromstring(svg).find(f"{SVG}title") is not None
        assert ET.fromstring(svg).find(f"{SVG}desc") is not None
    ids = [set(re.findall(r'id="([^"]+)"', svg)) for svg in (one, other)]
    assert ids[0] and not ids[0] & ids[1]
    assert set(re.findall(r"url\(#([^)]+)\)", one)) == ids[0]


def test_hostile_payloads_stay_words():
    for suffix, drawn in pictures(hostile()).items():
        assert "\x1b" not in drawn and "\u202e" not in drawn
        assert suffix == ".txt" or "<script" not in drawn
    ET.fromstring(pictures(hostile())[".svg"])


def test_a_megabyte_of_payload_takes_no_more_room_than_its_place():
    told = Told()
    told.submit("a" * 1_000_000, id="1")
    drawn = pictures(told)
    assert max(map(len, drawn[".txt"].splitlines())) < 200
    shown = [said for said in texts(drawn[".svg"]) if said.startswith("SUBMIT")]
    assert all(len(said) < 100 for said in shown)
    assert len(drawn[".svg"]) < 100_000


def test_a_long_silence_is_cut_out_and_told():
    told = Told()
    told.submit("a")
    told.now_ms = 500
    told.reserve("worker 1", "a")
    drawn = pictures(told)
    assert "⋯ +499 ms" in texts(drawn[".svg"]) and "+499 ms" in drawn[".txt"]


# -- Which part is shown


def test_a_violation_that_concerns_no_job_is_shown_among_its_neighbours():
    told = Told()
    told.submit("a")
    told.reserve("worker 1", "a")
    told.ack("worker 1", "a")
    told.reserve("worker 1", "a", outcome="info", error="garbage: OK")
    told.end()
    drawn = pictures(told)[".txt"]
    assert drawn.startswith("replies_match violated") and "SUBMIT a" in drawn
    (marked,) = (line for line in drawn.splitlines() if line.endswith("<--"))
    assert "garbage: OK" in marked


def test_nothing_can_be_drawn_as_well():
    story = trace(Told().model())
    ET.fromstring(diagram.draw(story, [], "Nothing"))
    assert len(list(ladder.draw(story, []))) == 1


def test_a_job_is_found_by_our_name_and_by_the_brokers():
    told = Told()
    told.submit("a", id="17")
    told.submit("b", id="1")
    story = trace(told.model())
    assert {event.jobs for event in view.of_job("a", story).events} == {("a",)}
    assert view.of_job("17", story).events == view.of_job("a", story).events
    assert {event.jobs for event in view.of_job("1", story).events} == {("b",)}
    with pytest.raises(NotFound, match="no such job"):
        view.of_job("7", story)


def test_around_an_operation():
    told = Told()
    for number in range(60):
        told.submit(f"j{number}")
    story = trace(told.model())
    shown = view.around(60, story)
    (marked,) = shown.notes
    assert story.events[marked].ops == (60,) and len(shown.events) == view.SHOWN
    assert shown.events[0].index < marked < shown.events[-1].index
    with pytest.raises(NotFound):
        view.around(4000, story)


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name, tell in STORIES.items():
        for suffix, drawn in pictures(tell()).items():
            (GOLDEN / (name + suffix)).write_text(drawn, encoding="utf-8")
    DOCS.mkdir(exist_ok=True)
    for recorded in RECORDED:
        for suffix, drawn in of_a_run(recorded).items():
            (DOCS / (recorded.name + suffix)).write_text(drawn, encoding="utf-8")
