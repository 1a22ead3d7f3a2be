"""Patient 30: dsjq, which writes down what a job is, and who must do it until when.

    dsjq-lab run lost_submit_reply --set load.keyed=true --broker zoo/p30
"""
import sys

from dsjq import cli
from dsjq.broker import Broker
from dsjq.messages import Record, Submitted


class Patient(Broker):
    def _record(self, records: list[Record]) -> int:
        position = super()._record([
            record._replace(key="") if isinstance(record, Submitted) else record for record in records
        ])
        for record in records:
            if isinstance(record, Submitted) and record.key:
                job = self.queue.jobs[record.job]
                job.key = record.key
                self.queue.keys[job.key] = job
        return position


if __name__ == "__main__":
    cli.main(["serve", *sys.argv[1:]], broker=Patient)
