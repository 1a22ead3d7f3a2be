"""One value of a scenario, changed for one run: `--set load.jobs=5`, without a copy of the file.

A change is made in the data before they are validated, so a bad one is refused like a bad line of the file.
Its place is line 0, and its number the column: whoever shows a mistake knows by that where it came from.
"""

from typing import Any

from dsjq_lab import yaml12
from dsjq_lab.yaml12 import Document, Mistake, Path, Place, YamlError


def change(document: Document, number: int, text: str) -> list[Mistake]:
    """Puts a value at a dotted path, which may lead to what the file leaves out; what is wrong with it."""
    place = (0, number)
    where, equals, value = text.partition("=")
    if not equals:
        return [Mistake(*place, "set", "write path=value, e.g. load.jobs=5")]
    path: Path = tuple(int(step) if step.isdigit() else step for step in where.split("."))
    try:
        new = yaml12.read(value.encode() or b"null")
        put(document, place, path, new.data)
    except YamlError as error:
        return [Mistake(*place, "yaml", error.mistake.message)]
    except LookupError as missing:
        return [Mistake(*place, "set", str(missing.args[0]))]
    document.keys.update({(*path, *key): place for key in new.keys})
    document.values.update({(*path, *key): place for key in new.values})
    return [Mistake(*place, mistake.kind, mistake.message) for mistake in new.mistakes]


def put(document: Document, place: Place, path: Path, value: Any) -> None:
    part = document.data
    for depth, step in enumerate(path):
        here = path[: depth + 1]
        last = depth + 1 == len(path)
        if isinstance(part, dict) and isinstance(step, str):
            if last or step not in part:
                document.keys[here] = document.values[here] = place
                part[step] = value if last else {}
        elif not isinstance(part, list) or not isinstance(step, int) or step >= len(part):
            raise LookupError(f"there is no '{step}' in '{'.'.join(map(str, path[:depth])) or 'the file'}'")
        elif last:
            part[step] = value
        part = part[step]
