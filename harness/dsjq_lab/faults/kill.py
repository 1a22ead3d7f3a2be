"""SIGKILL: the process ends where it stands, and cannot say goodbye."""

from dsjq_lab.faults.fault import Fault, Lab


class Kill(Fault):
    ends_process = True

    def strike(self, lab: Lab, victim: str) -> bool:
        return lab.signal(victim, "kill")

    def heal(self, lab: Lab, victim: str) -> None:
        lab.start(victim)
