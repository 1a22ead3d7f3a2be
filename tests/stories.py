"""Stories of runs that went wrong in an instructive way, for the tests of whatever draws and exports them."""

from histories import Told

HOSTILE = "a<script>alert(1)</script>&\"'\x1b[2J\u202e "


def zombie_ack() -> Told:
    """A worker hangs past its lease, another does the job, and the first one's ACK is accepted."""
    told = Told(ack_timeout_ms=100)
    told.broker_ready()
    told.submit("a")
    told.reserve("worker 1", "a", token="1.1")
    told.now_ms = 30
    told.fault("pause", "worker 1", "begin", "struck")
    told.reserve("worker 2", "a", token="1.2", at=(40, 131))
    told.now_ms = 150
    told.fault("pause", "worker 1", "end")
    told.ack("worker 1", "a", token="1.1")
    told.ack("worker 2", "a", token="1.2", outcome="fail", error="ERROR STALE job a is DONE")
    told.end()
    return told


def lost_replies() -> Told:
    """The broker takes a job and dies before it says so; a worker dies with its question; nobody is there."""
    told = Told(ack_timeout_ms=100)
    told.broker_ready()
    told.submit("a", at=(5, 12), outcome="info", error="eof")
    told.fault("kill", "broker", "begin", "struck")
    told.submit("b", outcome="fail", error="UNREACHABLE refused")
    told.broker_ready()
    told.fault("kill", "broker", "end")
    told.reserve("worker 1", "a")
    told.ack("worker 1", "a", outcome=None)
    told.fault("kill", "worker 1")
    told.empty("worker 2")
    told.end()
    return told


def hostile() -> Told:
    told = Told()
    told.submit(HOSTILE)
    told.reserve("worker 1", HOSTILE)
    told.fail("worker 1", HOSTILE.split(" ")[0], outcome="fail", error=f"ERROR {HOSTILE}")
    told.fault("kill", "worker 1")
    told.end()
    return told


def traced() -> Told:
    """The broker kept a trace: the moments are its own, and a lost delivery comes to light."""
    told = Told(ack_timeout_ms=100)
    told.trace_start()
    told.broker_ready()
    told.submit("a", id="1", at=(10, 16))
    told.now_ms = 12
    told.trace(1, "Submitted")
    told.reserve("worker 1", "a", id="1", at=(20, 22))
    told.now_ms = 21
    told.trace(1, "Delivered")
    told.fault("kill", "worker 1")
    told.trace(1, "Requeued")
    told.reserve("worker 2", "a", id="1", at=(40, 45))
    told.now_ms = 41
    told.trace(1, "Delivered")
    told.ack("worker 2", "1", outcome="info", error="timeout", at=(50, 60))
    told.now_ms = 52
    told.trace(1, "Acked")
    told.now_ms = 70
    told.end()
    return told


STORIES = {story.__name__: story for story in (zombie_ack, lost_replies, hostile, traced)}
