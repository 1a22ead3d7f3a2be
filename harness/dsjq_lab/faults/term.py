"""SIGTERM: the polite way. The process finishes what it has in hand, if it knows how to, and then ends."""

from dsjq_lab.faults.fault import Fault, Lab


class Term(Fault):
    ends_process = True

    def strike(self, lab: Lab, victim: str) -> bool:
        return lab.signal(victim, "term")

    def heal(self, lab: Lab, victim: str) -> None:
        lab.start(victim)
