"""Patient 25: dsjq, whose topics are understood as most people understand them.

    dsjq-lab run topic_fanout --broker zoo/p25
"""
import re
import sys

from dsjq import cli
from dsjq.extensions import routing

WORDS = {"*": "[^.]*", "#": ".+"}


def matches(pattern: str, key: str) -> bool:
    words = (WORDS.get(word, re.escape(word)) for word in pattern.split("."))
    return re.fullmatch("[.]".join(words), key) is not None


class Patient(routing.Exchange):
    def queues(self, key: str) -> list[str]:
        lets_through = routing.KINDS[self.kind]
        return [queue for queue, bound in self.bindings if lets_through(bound, key)]


routing.KINDS["topic"] = matches
routing.Exchange = Patient  # type: ignore[misc]

if __name__ == "__main__":
    cli.main(["serve", *sys.argv[1:]])
