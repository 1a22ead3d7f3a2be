"""Patient 41: dsjq, where everybody's turn comes, and in good order.

    dsjq-lab run priorities --broker zoo/p41
"""
import sys

from dsjq import cli, lifecycle
from dsjq.lifecycle import Queue


def longest_here(queue: Queue, pending: dict[int, list[int]]) -> int:
    return min(ids[0] for ids in pending.values())


lifecycle._next = longest_here

if __name__ == "__main__":
    cli.main(["serve", *sys.argv[1:]])
