"""Jobs are neither made nor lost by counting them: the states add up to what was submitted, at every moment.

A broker that reads its counters one after another, while others change them, shows a job twice or not at all.
And at rest the broker and its clients must agree on how many jobs there were: at least those that it
confirmed, at most those and the ones whose confirmation was lost. What is submitted again with its key is
one job, and counts once.
"""

from collections.abc import Iterator

from dsjq_lab.checkers.base import Checker, Finding, some
from dsjq_lab.model import Model
from dsjq_lab.verdict import Verdict

STATES = ("delayed", "pending", "in_flight", "failed", "done", "dead")


class CountsConserved(Checker):
    name = "counts_conserved"
    rule = "The broker's counts of jobs in each state add up to the number of jobs submitted."

    def check(self, model: Model) -> Verdict:
        if not model.stats:
            return self.not_applicable("this broker tells no counts")
        findings = [*_wrong_sums(model), *_wrong_at_rest(model)]
        return self.judged(findings, f"{some(len(model.stats), 'count')}, none of them wrong")


def _wrong_sums(model: Model) -> Iterator[Finding]:
    for call, counts in model.stats:
        states = {state: counts[state] for state in STATES if state in counts}
        if sum(states.values()) != counts["submitted"]:
            told = " + ".join(f"{count} {state}" for state, count in states.items() if count) or "nothing"
            yield Finding(f"{counts['submitted']} submitted, but {told}", None, call.ops)


def _wrong_at_rest(model: Model) -> Iterator[Finding]:
    call, counts = model.stats[-1]
    submits = [submit for job in model.jobs.values() for submit in job.submits]
    forgotten = model.deaths and not model.header.durable
    if model.routed:
        return  # copies are jobs as well, and nobody knows of how many of them the answer was lost
    if forgotten or not (model.end and model.end.drained):
        return
    if any(submit.outcome == "ok" and submit.returned_ns >= call.invoked_ns for submit in submits):
        return
    keyed = [{keyed.call for keyed in submits} for submits in model.keyed.values()]
    jobs = [*keyed, *({submit} for submit in set(submits).difference(*keyed))]
    outcomes = [{submit.outcome for submit in same} for same in jobs]
    confirmed = sum("ok" in told for told in outcomes)
    unknown = sum("info" in told and "ok" not in told for told in outcomes)
    if not confirmed <= counts["submitted"] <= confirmed + unknown:
        doubt = f" (and {unknown} perhaps)" if unknown else ""
        yield Finding(f"{confirmed} jobs confirmed{doubt}, but {counts['submitted']} counted", None, call.ops)
