"""Patient 39: dsjq, which always serves the most urgent job.

    dsjq-lab run starvation --broker zoo/p39
"""
import sys

from dsjq import cli, lifecycle
from dsjq.lifecycle import Queue


def most_urgent(queue: Queue, pending: dict[int, list[int]]) -> int:
    return pending[min(pending)][0]


lifecycle._next = most_urgent

if __name__ == "__main__":
    cli.main(["serve", *sys.argv[1:]])
