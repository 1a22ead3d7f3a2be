"""The scenarios that press on a broker hardest, in lines and in frames, in the clear and through TLS.

In lines and in the clear `pytest scenarios/` plays them.
"""
import pytest
from playing import ROOT, came_to_rest

from dsjq_lab import runs
from dsjq_lab.brokers import under_study
from dsjq_lab.results import judged
from dsjq_lab.vacuity import missed
from dsjq_lab.variation import Variation
from dsjq_lab.verdict import VIOLATED


@pytest.mark.parametrize(("broker", "tls"), [
    ("dsjq", "true"), ("dsjq-frames", "false"), ("dsjq-frames", "true")])
@pytest.mark.parametrize("story", ["flood", "slow_reader", "thundering_herd", "big_payloads"])
def test_under_pressure(story: str, broker: str, tls: str) -> None:
    path = ROOT / "scenarios" / f"{story}.yaml"
    variation = Variation((f"broker.tls={tls}",))
    result = judged(runs.play(path, broker=under_study(broker, None), variation=variation))
    assert not [verdict for verdict, standing, _ in result.rulings if standing == VIOLATED]
    assert came_to_rest(result.model.ops) and not missed(result.model)
