"""What connections used, they give back: a broker that keeps a thread for each dead one ends some day.

A leak shows only against traffic: many connections must have come and gone, many more than a pool could
explain. So the growth since the broker was ready, in threads or in descriptors, is held against the largest
number of connections that were open at one time, and a few: a broker may keep what it once needed.
"""

from dsjq_lab.checkers.base import Checker, Finding
from dsjq_lab.history import Op
from dsjq_lab.model import Model
from dsjq_lab.verdict import Verdict

A_FEW = 4
MANY = 2  # times what a pool could hold


class NoLeak(Checker):
    name = "no_leak"
    rule = "When connections have come and gone, the broker has given back their threads and descriptors."

    def check(self, model: Model) -> Verdict:
        ends = [op for op in model.resources if op.value["moment"] == "end"]
        ready = [op for op in model.resources if op.value["moment"] == "ready"]
        if not ends or not ready or ready[-1].value["incarnation"] != ends[-1].value["incarnation"]:
            return self.not_applicable("what the broker used was not seen before and after")
        before, after = ready[-1], ends[-1]
        came_and_went, at_once = _traffic(model, before.time_ns, after.time_ns)
        allowed = at_once + A_FEW
        if came_and_went < MANY * allowed:
            why = f"too few connections came and went to tell a leak from a pool: {came_and_went}"
            return self.not_applicable(why)
        growths = {what: after.value[what] - before.value[what] for what in ("threads", "descriptors")}
        findings = [
            _leak(what, growth, came_and_went, before, after)
            for what, growth in growths.items()
            if growth > allowed
        ]
        told = " and ".join(f"{growth:+} {what}" for what, growth in growths.items())
        return self.judged(findings, f"{told} after {came_and_went} connections")


def _traffic(model: Model, since_ns: int, until_ns: int) -> tuple[int, int]:
    """How many connections began and ended in that time, and the largest number that was open at once."""
    seen = [connection for connection in model.connections if since_ns <= connection.opened_ns < until_ns]
    changes = sorted(
        [(connection.opened_ns, 1) for connection in seen]
        + [(connection.over_ns, -1) for connection in seen if connection.over_ns < until_ns]
    )
    now_open = most = 0
    for _, change in changes:
        now_open += change
        most = max(most, now_open)
    return sum(connection.over_ns < until_ns for connection in seen), most


def _leak(what: str, growth: int, connections: int, before: Op, after: Op) -> Finding:
    summary = f"{growth} {what} more than at the start, after {connections} connections had come and gone"
    return Finding(summary, None, (before.index, after.index))
