"""What a history says of each job: who got it, when it was certainly held, and what may have become of it.

This is all that the checkers look at. It is made by one pass over the operations (reading.py) out of what can
be seen from outside (seen.py).
"""

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator
from itertools import takewhile
from typing import Any

from dsjq_lab.history import Header, History, Op, no_garbage
from dsjq_lab.reading import read
from dsjq_lab.seen import (
    Call,
    Connection,
    Death,
    Delivery,
    End,
    FailedSync,
    Job,
    Keyed,
    Listing,
    LostRequest,
    Strike,
)

# Why a job was delivered. The last two have no excuse.
CAUSES = ("first", "after_fail", "after_release", "after_crash", "after_lapse", "after_ack", "while_held")


class Model:
    """What the checkers judge."""

    def __init__(self, history: History) -> None:
        self.header: Header = history.header
        self.ops: list[Op] = history.ops
        self.jobs: dict[str, Job] = {}
        self.strays: list[Delivery] = []  # of nonces that nobody had submitted
        self.renamed: list[tuple[str, Call, Call]] = []  # (an id, a call that gave it to a job, to another)
        self.has_tokens = False
        self.keyed: dict[str, list[Keyed]] = {}  # by their key
        self.empties: list[Call] = []  # requests answered EMPTY
        self.lost_requests: list[LostRequest] = []  # in the order of their invocation
        self.lost_over_ns: list[float] = []  # sorted
        self.connections: list[Connection] = []
        self.broken_replies: list[Op] = []  # garbage, more than was asked for, and strange greetings
        self.intrusions: list[Op] = []  # how each ended, of those that did
        self.routed: list[tuple[Call, dict[str, Any], str | None]] = []  # publishers' calls: value, error
        self.stats: list[tuple[Call, dict[str, Any]]] = []
        self.listings: list[Listing] = []
        self.dead: set[str] = set()  # nonces that the broker lists as dead, and that were not kicked since
        self.perhaps_kicked: set[str] = set()  # of these, those whose kick may have counted
        self.kicks: list[tuple[str, Call]] = []  # (nonce, the operator's call)
        self.effects: list[Op] = []  # the ledger, as the lab kept it
        self.trace: list[Op] = []  # the broker's own, where it keeps one
        self.overheard: list[Op] = []  # messages on the way, where the proxy kept a record
        self.resources: list[Op] = []  # what the broker used, and when
        self.failed_syncs: list[FailedSync] = []
        self.deaths: list[Death] = []
        self.incarnations = 0
        self.strikes: list[Strike] = []
        self.calm_ns = history.header.start_ns  # the last that was heard of a fault, or a kick
        self.answered_ns = 0  # when the broker last did what it was asked
        self.last_question: Op | None = None
        self.end: End | None = None  # None: the lab was killed
        with no_garbage():
            read(self)

    @property
    def slack_ns(self) -> int:
        """How late a broker may be, and this machine."""
        return self.header.tolerance_ns + (self.end.epsilon_ns if self.end else 0)

    def life(self, invoked_ns: float) -> int:
        """The first incarnation of the broker, counted from 0, that may have heard what was said then."""
        return bisect_left(self.deaths, invoked_ns, key=lambda death: death.until_ns) if self.deaths else 0

    def death_ns(self, life: int) -> float:
        """Until when that incarnation certainly lived."""
        return self.deaths[life].begin_ns if life < len(self.deaths) else math.inf

    def incarnation(self, call: Call) -> int | None:
        """Which one answered; None: in doubt."""
        life = self.life(call.invoked_ns)
        return life if call.returned_ns < self.death_ns(life) else None

    def memory(self, life: int | None) -> int | None:
        """What that incarnation knew of: in one memory an id names one job, and a token one delivery.

        It dies with its process, or not at all if the broker is durable. None: in doubt.
        """
        return 0 if self.header.durable else life

    def count(self, delivery: Delivery) -> int | None:
        """Within one count attempts are counted without a gap: only what harms the disk takes some back.

        A broker without tokens does not promise to count them over its death. None: in doubt.
        """
        if not (self.header.durable and self.has_tokens):
            return delivery.incarnation
        life = self.life(delivery.invoked_ns)
        in_doubt = takewhile(lambda death: death.begin_ns <= delivery.returned_ns, self.deaths[life:])
        if any(death.harms_disk for death in in_doubt):
            return None
        return sum(death.harms_disk for death in self.deaths[:life])

    def possible_attempts(self, job: Job, until_ns: float) -> int:
        """Deliveries that count, and requests that were heard while the job existed, their reply lost."""
        certain = sum(delivery.invoked_ns < until_ns and not delivery.is_free for delivery in job.deliveries)
        begun = bisect_left(self.lost_requests, until_ns, key=lambda request: request.invoked_ns)
        return certain + begun - bisect_right(self.lost_over_ns, job.submits[0].invoked_ns)

    def buried(self) -> set[str]:
        """Jobs that are dead, or may be: a broker with a limit that lists no dead buries them in silence."""
        limit = self.header.max_attempts
        if limit is None or self.listings or self.stats:
            return self.dead
        return {job.nonce for job in self.jobs.values() if self.possible_attempts(job, math.inf) >= limit}

    @property
    def dead_unseen(self) -> int:
        """How many dead the broker counts that it was not seen to list: those may be any."""
        return self.stats[-1][1]["dead"] - len(self.dead - self.perhaps_kicked) if self.stats else 0

    def unaccounted(self) -> list[Job]:
        """Jobs that the broker took, of which no ACK may have happened, and which are not dead either."""
        open_jobs = [job for job in self.jobs.values() if job.acknowledged and job.finished_ns == math.inf]
        buried = self.buried() if open_jobs else self.dead
        return [job for job in open_jobs if job.nonce not in buried]

    def counts(self) -> dict[str, int]:
        """Jobs by their fate (as Jepsen counts them), and deliveries by their cause."""
        jobs = self.jobs.values()
        done = {job.nonce for job in jobs if job.is_done}
        perhaps_done = {job.nonce for job in jobs if job.finished_ns < math.inf} - done - self.dead
        causes = Counter(cause for job in jobs for cause in _causes(job))
        return {
            "attempted": len(jobs),
            "acknowledged": sum(job.acknowledged for job in jobs),
            "recovered": sum(bool(job.deliveries) and not job.acknowledged for job in jobs),
            "duplicated": sum(len(job.deliveries) > 1 for job in jobs),
            "done": len(done),
            "perhaps_done": len(perhaps_done),
            "dead": len(self.dead - done),
            "lost": len(self.unaccounted()) if self.end and self.end.drained else 0,
            "unexpected": len(self.strays),
            "delivered": len(self.strays) + sum(len(job.deliveries) for job in jobs),
            **{cause: causes[cause] for cause in CAUSES},
        }


def _causes(job: Job) -> Iterator[str]:
    """Why each delivery of a job was made, as far as what became of the one before it tells."""
    # Kept by id: a retried SUBMIT may make a second job, with a first delivery of its own.
    before: dict[str, Delivery] = {}
    for delivery in job.deliveries:
        previous = before.get(delivery.id)
        before[delivery.id] = delivery
        if previous is None:
            yield "first"
        elif any(c.f == "fail" and c.outcome != "fail" for c in previous.settles):
            yield "after_fail"
        elif any(c.f == "release" and c.outcome != "fail" for c in previous.settles):
            yield "after_release"
        elif any(c.f == "ack" and c.outcome == "ok" and c.returned_ns < delivery.invoked_ns
                 for c in previous.settles):  # fmt: skip
            yield "after_ack"
        elif previous.cut_ns <= delivery.returned_ns:
            yield "after_crash"
        else:
            yield "after_lapse" if previous.held_until_ns <= delivery.returned_ns else "while_held"
