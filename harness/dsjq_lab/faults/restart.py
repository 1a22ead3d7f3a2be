"""An operator restarts the broker: SIGTERM, a while of nothing, and a new process on the same port."""

from dsjq_lab.faults.term import Term


class Restart(Term):
    """SIGTERM, a while of nothing, and a new process on the same port: unlike a term, it always ends."""
