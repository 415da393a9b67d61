"""The soak of benchmarks/soak.py in small: requests with faults and cancellations leave nothing behind."""

import subprocess
import sys
from pathlib import Path

SOAK = Path(__file__).parents[1] / "benchmarks" / "soak.py"


def test_two_thousand_requests_with_faults_and_cancellations_leave_nothing_behind():
    soak = subprocess.run(
        [sys.executable, str(SOAK), "--requests", "2000"], capture_output=True, text=True, timeout=50, check=False
    )
    assert soak.returncode == 0, soak.stdout + soak.stderr
    assert "2000 of 2000 requests told of" in soak.stdout
