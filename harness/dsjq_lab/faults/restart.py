"""An operator restarts the broker: SIGTERM, a while of nothing, and a new process on the same port."""

from dsjq_lab.faults.term import Term


class Restart(Term):
    """What sets it apart from a term: it always ends, for the scenario says how long the broker is down."""
