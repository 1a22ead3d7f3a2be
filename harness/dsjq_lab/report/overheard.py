"""What the network's own record (wire.py) adds to a call: did the question arrive, and was it answered?

A client has one question at a time. So what it says between two of its invocations belongs to the first of
them, and what comes down on that connection before it speaks again is the answer, however late.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from itertools import takewhile
from typing import NamedTuple

from dsjq_lab.history import Op


class Overheard(NamedTuple):
    """A call, as it passed on the way."""

    arrived_ns: int | None  # when the whole question was passed on to the broker; None: it never was
    answered_ns: int | None  # when the answer came from the broker; None: it never did


class Wire:
    def __init__(self, ops: Iterable[Op]) -> None:
        self.questions: dict[str, list[Op]] = defaultdict(list)  # by client, as they came
        self.links: dict[int, list[Op]] = defaultdict(list)  # all that was said on a connection
        for op in ops:
            self.links[op.value["link"]].append(op)
            if is_question(op):
                self.questions[op.value["client"]].append(op)

    def of(self, client: str, invoked_ns: int, next_ns: int) -> Overheard | None:
        """What was said for the call that the client invoked then, and its next one then; None: nothing."""
        asked = self.questions.get(client, [])
        first = bisect_left(asked, invoked_ns, key=lambda op: op.time_ns)
        last = bisect_left(asked, next_ns, key=lambda op: op.time_ns)
        if first == last:
            return None
        question = asked[last - 1]
        link = self.links[question.value["link"]]
        answers = [*takewhile(lambda op: not is_question(op), link[link.index(question) + 1 :])]
        arrived_ns = question.value["left_ns"]
        return Overheard(arrived_ns, answers[-1].time_ns if answers and arrived_ns else None)


def is_question(message: Op) -> bool:
    return bool(message.value["direction"] == "up")
