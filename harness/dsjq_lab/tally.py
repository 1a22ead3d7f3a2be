"""What an experiment has come to so far, counted from the operations as they are reported.

The conductor decides by it when an experiment is over. It is no judge: the checkers read the history.
"""

from typing import Any

from dsjq_lab.history import Op


class Tally:
    def __init__(self, *, audited: bool) -> None:
        self.submitted: set[str] = set()  # confirmed, by nonce
        self.settled: set[str] = set()  # acknowledged, or dead
        self.dead: set[str] = set()
        self.done = 0
        self.audited = audited  # until the broker refuses to tell its counts
        self.stats: dict[str, Any] = {}
        self.rests = 0  # how often in a row the broker's counts said that nothing is left to do

    @property
    def unsettled(self) -> set[str]:
        return self.submitted - self.settled

    def progress(self) -> dict[str, int]:
        """For a display: what the clients saw and, where the broker tells, what is left in its hands."""
        seen = {"submitted": len(self.submitted), "done": self.done, "dead": len(self.dead)}
        return seen | {state: self.stats[state] for state in ("pending", "in_flight") if state in self.stats}

    def add(self, op: Op) -> None:
        if op.type == "fail" and op.f == "stats":
            self.audited = False
        elif op.type == "ok" and (count := getattr(self, f"_{op.f}", None)):
            count(op.value)

    def _submit(self, value: dict[str, Any]) -> None:
        self.submitted.add(value["job"])

    def _ack(self, value: dict[str, Any]) -> None:
        self.settled.add(value["job"])
        self.done += 1

    def _stats(self, value: dict[str, Any]) -> None:
        self.stats = value
        self.rests = 0 if self.left_to_do() else self.rests + 1

    def _dead(self, value: dict[str, Any]) -> None:
        listed = {job["payload"].split(" ")[0] for job in value["dead"]}
        self.dead |= listed
        self.settled |= listed

    def _kick(self, value: dict[str, Any]) -> None:
        self.dead.discard(value["job"])
        self.settled.discard(value["job"])
        self.rests = 0  # what the counts said before is not true any more

    def left_to_do(self) -> dict[str, int]:
        """The broker's own counts of what is not at rest; empty as well while it has not told any."""
        states = ("delayed", "pending", "in_flight", "failed")
        return {state: count for state in states if (count := self.stats.get(state))}
