"""A verdict is one of four words, and not knowing is never a pass.

`holds` and `violated` are knowledge. `unknown` is for a run too damaged to tell, and `not applicable` for a
rule that does not concern this broker; the first must stain the run, the second must not.
"""

from collections.abc import Iterable
from typing import NamedTuple

HOLDS = "holds"
VIOLATED = "violated"
UNKNOWN = "unknown"
NOT_APPLICABLE = "not applicable"


class Verdict(NamedTuple):
    invariant: str
    status: str
    summary: str  # one line for people: "job 12 held by worker 1 and worker 3 at once"
    job: str | None = None  # the nonce of the job that shows it
    ops: tuple[int, ...] = ()  # the evidence, as indices of operations in the history
    count: int = 0  # type: ignore[assignment]  # violations; the summary tells the first (hides tuple.count)


def merge(verdicts: Iterable[Verdict]) -> str:
    """The status of a whole run: the worst that is known of it."""
    statuses = {verdict.status for verdict in verdicts}
    for status in (VIOLATED, UNKNOWN, HOLDS):
        if status in statuses:
            return status
    return NOT_APPLICABLE
