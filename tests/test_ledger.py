"""The ledger keeps what it should, and turns away what its kind of cure is for."""
import pytest

from dsjq_lab.ledger import Ledger


def written(kind: str, *tokens: str | None) -> list[bool]:
    ledger = Ledger(kind)
    return [not ledger.write({"job": "j1", "token": token}) for token in tokens]


@pytest.mark.parametrize(("kind", "tokens", "kept"), [
    ("append", ["1.1", "1.2", "1.1"], [True, True, True]),
    ("idempotent", ["1.1", "1.2", "1.1"], [True, False, False]),
    ("fenced", ["1.1", "1.2", "1.1"], [True, True, False]),  # the late is turned away, the next is not
    ("fenced", ["1.9", "1.10"], [True, True]),  # as numbers
    ("fenced", ["1.10", "1.9"], [True, False]),
    ("fenced", ["1.2", "1.2"], [True, True]),
    ("fenced", [None, None], [True, True]),  # nothing to be checked
    ("fenced", ["b", "a"], [True, True]),
])
def test_what_is_written(kind, tokens, kept):
    assert written(kind, *tokens) == kept


def test_jobs_do_not_mind_one_another():
    for kind in ("idempotent", "fenced"):
        ledger = Ledger(kind)
        assert not ledger.write({"job": "j1", "token": "1.7"})
        assert not ledger.write({"job": "j2", "token": "1.3"})
