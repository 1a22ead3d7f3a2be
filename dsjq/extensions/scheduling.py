"""When a failed job is tried again: later each time, and not all of them at once.

Exponential backoff gives whatever is broken time to recover; full jitter spreads the jobs that failed
together over the whole pause, lest they come back together (Brooker, "Exponential Backoff and Jitter",
AWS 2015). No dice are thrown: a pause follows from the seed, the job and its attempt, so that every run can
be repeated.
"""
import random

from ..lifecycle import Job

DOUBLINGS_MAX = 30


class Backoff:
    """For `Queue.backoff`. Pauses are up to `base_s` after the first attempt, doubled up to `cap_s`."""

    def __init__(self, base_s: float, cap_s: float, seed: int = 0):
        self.base_s, self.cap_s, self.seed = base_s, cap_s, seed

    def __call__(self, job: Job) -> float:
        failures = job.attempts - job.free
        longest_s = min(self.cap_s, self.base_s * 2.0 ** min(failures - 1, DOUBLINGS_MAX))
        return longest_s * random.Random(f"{self.seed} {job.id} {job.attempts}").random()
