"""Reading histories: what is damaged, what is merely cut short, and what is from another version."""

import json
from pathlib import Path

import pytest
from histories import Told

from dsjq_lab.history import HistoryError, read_history


@pytest.fixture
def told(tmp_path: Path) -> Path:
    story = Told()
    story.submit("a für Ärzte")
    story.reserve("worker 1", "a für Ärzte")
    story.ack("worker 1", "a")
    story.end()
    return story.write(tmp_path / "history.jsonl")


def edit(path: Path, line: int, text: str) -> None:
    """Replace a line, counted from 1 as editors do."""
    lines = path.read_text().splitlines(keepends=True)
    lines[line - 1] = text
    path.write_text("".join(lines))


def test_what_was_written_is_read(told: Path) -> None:
    history = read_history(told)
    assert history.header.scenario == "told"
    assert [op.index for op in history.ops] == list(range(7))
    assert history.ops[0].value["payload"] == "a für Ärzte"
    assert not history.truncated


def test_operations_come_in_the_order_of_time_and_keep_their_place_in_the_file(tmp_path: Path) -> None:
    story = Told()
    story.submit("late", at=(10, 11))
    story.submit("early", process="producer 2", at=(5, 6))
    history = read_history(story.write(tmp_path / "h"))
    assert [op.index for op in history.ops] == [2, 3, 0, 1]


def test_unknown_fields_are_ignored(told: Path) -> None:
    header = json.loads(told.read_text().splitlines()[0])
    edit(told, 1, json.dumps(header | {"weather": "fine"}) + "\n")
    assert read_history(told).header.seed == 7


@pytest.mark.parametrize("lost_bytes", [1, 2, 40])
def test_a_lab_killed_while_writing_costs_at_most_the_last_line(told: Path, lost_bytes: int) -> None:
    told.write_bytes(told.read_bytes()[:-lost_bytes])
    history = read_history(told)
    complete = lost_bytes == 1  # only the newline is missing
    assert history.truncated is not complete
    assert len(history.ops) == (7 if complete else 6)


def test_a_last_line_cut_inside_a_character(told: Path) -> None:
    first_two = b"".join(told.read_bytes().splitlines(keepends=True)[:2])
    told.write_bytes(first_two[: first_two.index("ü".encode()) + 1])
    assert read_history(told).truncated


@pytest.mark.parametrize("damage", ["{", "7", "{}", '{"type": "perhaps"}'])
def test_damage_elsewhere_is_an_error_with_its_place(told: Path, damage: str) -> None:
    edit(told, 3, damage + "\n")
    with pytest.raises(HistoryError, match=r"history\.jsonl:3: "):
        read_history(told)


@pytest.mark.parametrize("header", ["", "{", '{"format": 1}', '{"format": 2}'])
def test_a_header_that_cannot_be_read(told: Path, header: str) -> None:
    edit(told, 1, header + "\n")
    with pytest.raises(HistoryError, match=r"history\.jsonl:1: "):
        read_history(told)


def test_an_empty_file_is_no_history(told: Path) -> None:
    told.write_bytes(b"")
    with pytest.raises(HistoryError, match=r":1: "):
        read_history(told)
