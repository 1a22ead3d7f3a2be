"""SIGSTOP, then SIGCONT: the process hangs. Its connections stay open, and sending to it still succeeds."""

from dsjq_lab.faults.fault import Fault, Lab


class Pause(Fault):
    ends_process = False

    def strike(self, lab: Lab, victim: str) -> bool:
        return lab.signal(victim, "pause")

    def heal(self, lab: Lab, victim: str) -> None:
        lab.signal(victim, "resume")
