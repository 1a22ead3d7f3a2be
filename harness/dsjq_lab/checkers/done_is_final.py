"""An ACK that was answered OK ends the job: it is never handed out again, and nobody else finishes it.

Order matters here, and only real time gives it: the second request must have been *invoked* after the ACK had
*returned*. A delivery that was under way meanwhile is an ordinary redelivery. Repeating one's own ACK is no
crime, whatever the answer. The rule reads across restarts: an ACK answered OK has to be as durable as a job.
"""

from dsjq_lab.checkers.base import Checker, Finding
from dsjq_lab.model import Model
from dsjq_lab.seen import Call, Delivery
from dsjq_lab.verdict import Verdict


class DoneIsFinal(Checker):
    name = "done_is_final"
    rule = "Once an ACK was answered OK, the job is not delivered again and nobody else's ACK is answered OK."

    def check(self, model: Model) -> Verdict:
        findings = []
        for job in model.jobs.values():
            if len(job.deliveries) > 1:
                findings += [crime for copy in job.copies if (crime := _undone(copy))][:1]
        return self.judged(findings, "no job came back after its ACK")


def _undone(copy: list[Delivery]) -> Finding | None:
    acks = [(ack, delivery) for delivery in copy if (ack := delivery.accepted)]
    if not acks:
        return None
    ack, holder = min(acks, key=lambda found: found[0].returned_ns)
    again = next((delivery for delivery in copy if delivery.invoked_ns > ack.returned_ns), None)
    if again:
        return _redelivered(ack, again)
    other = next((other for other, delivery in acks if delivery.holder != holder.holder), None)
    return _acked_twice(holder.nonce, ack, other) if other else None


def _redelivered(ack: Call, again: Delivery) -> Finding:
    summary = f"job {again.nonce} given to {again.call.process} after {ack.process} had its ACK answered OK"
    return Finding(summary, again.nonce, ack.ops + again.call.ops)


def _acked_twice(nonce: str, ack: Call, other: Call) -> Finding:
    whom = (
        f"{ack.process} and {other.process}"
        if ack.process != other.process
        else f"two leases of {ack.process}"
    )
    return Finding(f"job {nonce}: ACKs of {whom} both answered OK", nonce, ack.ops + other.ops)
