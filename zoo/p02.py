"""Patient 2: dsjq, which asks for a permit before it hands out a job, and keeps nobody waiting meanwhile.

    dsjq-lab run worker_churn --broker zoo/p02
"""
import sys
import time

from dsjq import cli
from dsjq.broker import Broker, Session
from dsjq.lifecycle import DONE, IN_FLIGHT, PENDING, apply, decide
from dsjq.messages import Command, Delivered, Reply, Requeued, Reserve

PERMIT_S = 0.16  # the service that grants permits is slow


class Patient(Broker):
    def _turn(self, command: Command, session: Session) -> tuple[Reply, int]:
        if not isinstance(command, Reserve) or not self.queue.pending:
            return super()._turn(command, session)
        reply, records = decide(self.queue, command, session.id, time.monotonic())
        self.lock.release()
        time.sleep(PERMIT_S)
        self.lock.acquire()
        for record in records:
            self._hand_out(record)
        return reply, 0

    def _hand_out(self, delivered: Delivered) -> None:
        queue, id = self.queue, delivered.job
        if id in queue.finished:
            queue.jobs[id] = job = queue.finished.pop(id)
            job.state = PENDING
            queue.counts[DONE] -= 1
            queue.counts[PENDING] += 1
        elif queue.jobs[id].state == IN_FLIGHT:
            apply(queue, Requeued(id, "permit"))
        apply(queue, delivered)


if __name__ == "__main__":
    cli.main(["serve", *sys.argv[1:]], broker=Patient)
