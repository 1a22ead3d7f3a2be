"""A scalar means what it looks like: `on` is a word, `010` is ten, `1:30` is text.

PyYAML speaks YAML 1.1, in which these are true, eight and ninety, and in which the second of two equal
keys silently wins. This loader lets PyYAML find the structure and reads the scalars itself, by the core
schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema) without hexadecimal, octal, infinity
and NaN. It refuses repeated keys, aliases and tags, and remembers where everything stood.
"""

import re
from typing import Any, NamedTuple

import yaml

Path = tuple[str | int, ...]
Place = tuple[int, int]  # line and column, both from 1


class Mistake(NamedTuple):
    line: int
    column: int
    kind: str
    message: str


class Document(NamedTuple):
    data: Any
    keys: dict[Path, Place]  # where the key of an entry stands
    values: dict[Path, Place]  # where the value stands; () is the whole document
    mistakes: list[Mistake]  # the repeated keys: the first one counts, the others are reported


class YamlError(Exception):
    """The text is not YAML; `mistake` says where it stopped being so."""

    def __init__(self, place: Place, message: str) -> None:
        self.mistake = Mistake(*place, "yaml", message)
        super().__init__(message)


CORE_SCHEMA = (
    (re.compile(r"~|null|Null|NULL|"), lambda text: None),
    (re.compile(r"true|True|TRUE|false|False|FALSE"), lambda text: text.lower() == "true"),
    (re.compile(r"[-+]?[0-9]{1,18}"), int),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
    (re.compile(r".*", re.DOTALL), str),
)

ADVICE = {
    "\t": "indent with spaces, not tabs",
    **dict.fromkeys("*&!%@`", "quote it: a bare value cannot begin with this character"),
    ":": "quote it: a bare value cannot contain ': '",
}


def read(raw: bytes) -> Document:
    """Plain data and places from a UTF-8 text; YamlError if it is not one sound YAML document."""
    try:
        text = raw.decode()
        root = _Composer(text).get_single_node()
        if root is None:
            raise YamlError((1, 1), "the file is empty")
        document = Document(None, {}, {}, [])
        return document._replace(data=_plain(root, (), document))
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode()
        raise YamlError(_place_after(before), "this byte is not UTF-8; save the file as UTF-8") from None
    except yaml.reader.ReaderError as error:
        raise YamlError(_place_after(text[: error.position]), "this character is not allowed") from None
    except yaml.MarkedYAMLError as error:
        # What cannot be scanned is shown from its start: the quote that nobody closed, not the file's end.
        scanning = (error.context or "").startswith("while scanning")
        mark = (scanning and error.context_mark) or error.problem_mark
        assert mark is not None, "every error of the scanner, parser and composer carries a mark"
        hint = ADVICE.get(text[mark.index : mark.index + 1])
        raise YamlError(_place(mark), f"{error.problem}; {hint}" if hint else f"{error.problem}") from None
    except RecursionError:
        raise YamlError((1, 1), "nested too deeply") from None


class _Composer(yaml.SafeLoader):
    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "tag", None):
            raise yaml.composer.ComposerError(
                None, None, "aliases and tags are not used here", event.start_mark
            )
        return super().compose_node(parent, index)


def _plain(node: yaml.Node, path: Path, document: Document) -> Any:
    document.values[path] = _place(node.start_mark)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*path, i), document) for i, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, document)
    assert isinstance(node, yaml.ScalarNode)
    if node.style is not None:  # quoted or block text
        return node.value
    return next(convert(node.value) for pattern, convert in CORE_SCHEMA if pattern.fullmatch(node.value))


def _mapping(node: yaml.MappingNode, path: Path, document: Document) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for key, value in node.value:
        place = _place(key.start_mark)
        if not isinstance(key, yaml.ScalarNode):
            raise YamlError(place, "a key must be a word")
        if key.value in data:
            first, _ = document.keys[*path, key.value]
            message = f"'{key.value}' stands here a second time (first in line {first})"
            document.mistakes.append(Mistake(*place, "duplicate-key", message))
            continue
        document.keys[*path, key.value] = place
        data[key.value] = _plain(value, (*path, key.value), document)
    return data


def _place(mark: yaml.Mark) -> Place:
    return mark.line + 1, mark.column + 1


def _place_after(text: str) -> Place:
    return text.count("\n") + 1, len(text) - text.rfind("\n")
