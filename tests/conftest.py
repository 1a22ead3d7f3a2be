"""Whatever a test plays leaves its run folder in the test's own: never in the tree, nor in another's way."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def runs_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSJQ_RUNS", str(tmp_path / "runs"))
