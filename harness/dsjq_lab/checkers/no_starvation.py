"""Nothing waits for ever: of ten deliveries one is the turn of the oldest job, however urgent the others are.

So while a job waits, a tenth of all deliveries go to jobs that are older. (A policy: docs/decisions/010.) The
deliveries that count were certainly made meanwhile: asked for after the job had been confirmed and was no
longer delayed, and read before the request was sent that brought it. A tenth of these must be accounted for,
by deliveries of jobs that may be older, or by requests whose reply was lost.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from typing import NamedTuple

from dsjq_lab.checkers.base import Checker, Finding, some
from dsjq_lab.model import Model
from dsjq_lab.seen import Delivery, Job
from dsjq_lab.verdict import Verdict

OLDEST_TURN = 10  # every so many deliveries


class NoStarvation(Checker):
    name = "no_starvation"
    rule = "While a job waits, one of ten deliveries goes to it or to an older one."

    def check(self, model: Model) -> Verdict:
        if not model.has_tokens:
            return self.not_applicable("a broker without tokens has no priorities")
        waits = [wait for job in model.jobs.values() if (wait := first_wait(job, model))]
        return self.judged(_starved(waits, model), f"{some(len(waits), 'job')}, none was left to wait")


class Wait(NamedTuple):
    """A job certainly waited for its first delivery, in one life of the broker."""

    job: Job
    since_ns: float
    delivery: Delivery


class _Point(NamedTuple):
    """A moment of a delivery, and when its job may first have been submitted; or limits for both."""

    moment_ns: float
    submitted_ns: float


def first_wait(job: Job, model: Model) -> Wait | None:
    """The attempt, which comes with tokens, says that nobody had the job before."""
    if not job.is_single or not job.acknowledged or not job.deliveries:
        return None
    delivery = min(job.deliveries, key=lambda delivery: delivery.invoked_ns)
    if delivery.attempt != 1 or delivery.incarnation is None:
        return None
    ready_ns = job.confirmed_ns + (job.delay_ns + model.slack_ns if job.delay_ns else 0)
    born = [death.until_ns for death in model.deaths[: delivery.incarnation]]
    return Wait(job, max([ready_ns, *born]), delivery)


def _starved(waits: list[Wait], model: Model) -> list[Finding]:
    deliveries = [(job, delivery) for job in model.jobs.values() for delivery in job.deliveries]
    invoked_ns = sorted(delivery.invoked_ns for _, delivery in deliveries)
    returned_ns = sorted(delivery.returned_ns for _, delivery in deliveries)
    long = []  # with how many deliveries were certainly made meanwhile, or more
    for wait in waits:
        made = bisect_left(returned_ns, wait.delivery.invoked_ns) - bisect_right(invoked_ns, wait.since_ns)
        if made >= OLDEST_TURN:
            long.append((wait, made))
    begun = [_Point(delivery.invoked_ns, job.submits[0].invoked_ns) for job, delivery in deliveries]
    over = [_Point(delivery.returned_ns, job.submits[0].invoked_ns) for job, delivery in deliveries]
    begun_counts = _counts(begun, [_Point(w.delivery.returned_ns, w.job.confirmed_ns) for w, _ in long])
    over_counts = _counts(over, [_Point(w.since_ns, w.job.confirmed_ns) for w, _ in long])
    findings = []
    for (wait, made), begun_of_older, over_of_older in zip(long, begun_counts, over_counts, strict=True):
        older = begun_of_older - over_of_older - 1  # not its own
        if made // OLDEST_TURN > older + lost_meanwhile(wait, model):
            findings.append(_finding(wait, made, older))
    return findings


def _counts(points: Iterable[_Point], limits: list[_Point]) -> list[int]:
    """For each limit, how many points are below it in both ways."""
    counts = [0] * len(limits)
    rising = iter(sorted(points))
    point = next(rising, None)
    below: list[float] = []  # the second way, sorted; mostly they come in that order
    for place in sorted(range(len(limits)), key=limits.__getitem__):
        while point and point.moment_ns <= limits[place].moment_ns:
            insort(below, point.submitted_ns)
            point = next(rising, None)
        counts[place] = bisect_right(below, limits[place].submitted_ns)
    return counts


def lost_meanwhile(wait: Wait, model: Model) -> int:
    """Requests without a reply that may have been served meanwhile."""
    lost = model.lost_requests
    begun = bisect_left(lost, wait.delivery.returned_ns, key=lambda request: request.invoked_ns)
    return begun - bisect_right(model.lost_over_ns, wait.since_ns)


def _finding(wait: Wait, made: int, older: int) -> Finding:
    summary = f"job {wait.job.nonce} waited while {made} others were delivered, at most {older} of them older"
    return Finding(summary, wait.job.nonce, wait.job.submits[0].ops + wait.delivery.call.ops)
