"""Where scenarios and patients are found: the folder at hand first, then the copy in the wheel.

`worker_churn`, `worker_churn.yaml` and `scenarios/worker_churn.yaml` name one scenario, and `p03`,
`zoo/p03` and `zoo/p03.py` one patient of the zoo. A path that exists always wins.
"""

import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path

from dsjq_lab.errors import UsageError

SUFFIX = {"scenarios": ".yaml", "zoo": ".py"}
PACKAGE = Path(__file__).resolve().parent


class NotFound(UsageError):
    """Nothing goes by that name; the message says what comes near."""


def find(shelf: str, text: str) -> Path:
    """The file that `text` names on the shelf "scenarios" or "zoo"."""
    path = Path(text)
    if path.suffix != SUFFIX[shelf]:
        path = path.with_name(path.name + SUFFIX[shelf])
    for exact in (Path(text), path):
        if exact.is_file():
            return exact
    known = contents(shelf)
    if path.parent in (Path("."), Path(shelf)) and path.stem in known:
        return known[path.stem]
    raise NotFound(f"no such file: {text}{did_you_mean(path.stem, known)}")


def contents(shelf: str) -> dict[str, Path]:
    """name -> file, sorted; what lies in the current directory hides what was installed."""
    found: dict[str, Path] = {}
    for file in on_shelf(shelf, f"*{SUFFIX[shelf]}"):
        if not file.name.startswith("_"):
            found.setdefault(file.stem, file)
    return dict(sorted(found.items()))


def on_shelf(shelf: str, pattern: str) -> Iterator[Path]:
    """What is there, the folder at hand first."""
    for root in (Path(), PACKAGE.parents[1], PACKAGE / "library"):
        yield from sorted((root / shelf).glob(pattern))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""
