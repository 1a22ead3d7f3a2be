"""docs/protocol.md is kept true: its examples are replayed, its diagram and its table of errors compared.

After a change of TRANSITIONS, `python tests/test_protocol_doc.py` draws the diagram anew.
"""
import contextlib
import re
from typing import get_type_hints

import pytest
from test_server import ROOT, Wire, serving

from dsjq.extensions.binary import NUMBERS
from dsjq.extensions.codings import Offering
from dsjq.lifecycle import STATES, TRANSITIONS
from dsjq.server import Link
from dsjq.text import COMMANDS

PAGE = ROOT / "docs" / "protocol.md"
TEXT = PAGE.read_text()
EXAMPLES = re.findall(r"^```dsjq *(.*?)\n(.*?)^```$", TEXT, re.M | re.S)
DIAGRAM = re.compile(r"(?<=<!-- lifecycle -->\n).*?(?=<!-- /lifecycle -->)", re.S)


def diagram() -> str:
    """TRANSITIONS in the language of mermaid."""
    edges = [f"    {before or '[*]'} --> {after}: {record.__name__}"
             for record, (before, after) in TRANSITIONS.items()]
    left = {before for before, _ in TRANSITIONS.values()}
    ends = [f"    {state} --> [*]" for state in STATES if state not in left]
    return "\n".join(["```mermaid", "stateDiagram-v2", *edges, *ends, "```", ""])


def replay(options: str, script: str) -> str:
    """The script with every reply replaced by the one that really came, unless its `…` allows for it."""
    options = {key: float(value) for key, _, value in (word.partition("=") for word in options.split())}
    wires: dict[str, Wire] = {}
    lines: list[str] = []
    with serving(**options) as server, contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch().context())
        patch.setattr(Link, "first_coding", Offering)
        for line in script.splitlines():
            name, kind, text = re.fullmatch(r"(\w*)(>>?|<<?|\|) (.*)", line).groups()
            if name not in wires:
                wires[name] = stack.enter_context(Wire(server.address))
            if kind == ">":
                wires[name].send(text + "\n")
            elif kind == ">>":
                wires[name].socket.sendall(bytes.fromhex(text))
            elif kind == "<<":
                reply = wires[name].replies.read(len(bytes.fromhex(text)))
                text = text if reply == bytes.fromhex(text) else reply.hex()
            elif kind == "|":
                wires[name].close()
            else:
                reply = wires[name].read()
                as_promised = re.fullmatch(re.escape(text).replace("…", ".+"), reply)
                text = text if as_promised else reply
            lines.append(f"{name}{kind} {text}\n")
    return "".join(lines)


@pytest.mark.parametrize(("options", "script"), EXAMPLES, ids=range(1, len(EXAMPLES) + 1))
def test_example(options: str, script: str) -> None:
    assert replay(options, script) == script


def test_an_example_that_is_wrong_is_noticed() -> None:
    assert replay("", "> PING\n< PONG PONG\n") == "> PING\n< PONG\n"


def test_the_diagram_is_the_table() -> None:
    assert DIAGRAM.search(TEXT)[0] == diagram()


def test_every_error_is_explained() -> None:
    answered = {code for path in (ROOT / "dsjq").rglob("*.py")
                for code in re.findall(r'\b(?:Error|BadLine)\("([A-Z0-9_]+)"', path.read_text())}
    errors = TEXT.partition("\n## Errors\n")[2]
    explained = set(re.findall(r"^\| `([A-Z0-9_]+)` \|", errors, re.M))
    assert answered == explained


def test_every_command_is_explained_and_shown() -> None:
    sent = set(re.findall(r"^\w*> (\w+)", TEXT, re.M))
    assert {verb.decode() for verb in COMMANDS} <= sent


def test_every_message_has_its_number_and_fields_there() -> None:
    names = {"int | None": "int?", "str | None": "str?", "Any": "JSON"}
    for kind, number in NUMBERS.items():
        hints = {name: getattr(hint, "__name__", str(hint)) for name, hint in get_type_hints(kind).items()}
        fields = ", ".join(f"{name} {names.get(hint, hint)}" for name, hint in hints.items())
        row = re.search(rf"^\| {number} \| {kind.__name__}( \(`PUT`\))? \| (.*?) ?\|$", TEXT, re.M)
        assert row and row[2] == fields, kind


if __name__ == "__main__":
    PAGE.write_text(DIAGRAM.sub(lambda _: diagram(), TEXT))
