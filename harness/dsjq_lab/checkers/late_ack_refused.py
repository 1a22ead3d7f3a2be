"""A lease that is over is over, even if nobody else got the job yet: the broker keeps its own deadline.

Accepting such an ACK would harm nobody, which is the difference to `no_stale_ack`; but then a worker could
never know whether it is late. The lease counts here from the *return* of the request, or of the last TOUCH
that may have counted: no broker can have begun it later. One that sweeps has the time to do so.
"""

from dsjq_lab.checkers.base import Checker, Finding, some
from dsjq_lab.model import Model
from dsjq_lab.seen import Call, Delivery
from dsjq_lab.verdict import Verdict


class LateAckRefused(Checker):
    name = "late_ack_refused"
    rule = "An ACK that is sent after its lease has ended is not answered OK."

    def check(self, model: Model) -> Verdict:
        findings = []
        acks = 0
        for job in model.jobs.values():
            for delivery in job.deliveries:
                if ack := delivery.accepted:
                    acks += 1
                    if ack.invoked_ns > delivery.lapsed_ns:
                        findings.append(_late(delivery, ack, model.header.ack_timeout_ns))
                        break
        return self.judged(findings, f"{some(acks, 'ACK')} answered OK, none of them late")


def _late(delivery: Delivery, ack: Call, ack_timeout_ns: int) -> Finding:
    held_s, allowed_s = (ack.invoked_ns - delivery.returned_ns) / 1e9, ack_timeout_ns / 1e9
    touches = tuple(op for call in delivery.settles if call.f == "touch" for op in call.ops)
    summary = f"job {delivery.nonce}: ACK of {ack.process} answered OK {held_s:.2f} s after it got the job"
    summary += f", and a lease lasts {allowed_s:g} s" + (" from a TOUCH" if touches else "")
    return Finding(summary, delivery.nonce, delivery.call.ops + touches + ack.ops)
