"""The same small programs on the real modules and on the simulated ones: they must print the same."""
import subprocess
import sys
from pathlib import Path

import pytest

from dsjq_lab.sim.disk import Disk
from dsjq_lab.sim.program import run_program

SCRIPTS = sorted((Path(__file__).parent / "conformance").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_the_simulated_modules_do_what_the_real_ones_do(script, tmp_path):
    real = subprocess.run([sys.executable, str(script), str(tmp_path)], capture_output=True, text=True,
                          timeout=60)
    assert real.returncode == 0, real.stderr
    disk = Disk()
    disk.make_folders("/lab/empty")
    simulated = run_program(script, arguments=["/lab/empty"], disk=disk)
    assert simulated.failures == ()
    assert simulated.output.splitlines() == real.stdout.splitlines()
