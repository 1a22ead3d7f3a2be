"""The broker among clumsy and hostile clients, for seconds: bench/ does the same for longer, and measures."""
import json

import pytest

from bench import malformed


def test_malformed_traffic_harms_nobody_honest(capsys: pytest.CaptureFixture[str]) -> None:
    assert malformed.main(["--for", "5", "--attackers", "2"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["inputs"] > 100 and told["honest_confirmed"] > 10
