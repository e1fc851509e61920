import subprocess
import sys
from pathlib import Path

import pytest

from .compiled import CHECKS


@pytest.mark.slow
def test_compilation_changes_nothing_and_breaks_no_graph():
    program = Path(__file__).with_name("compiled.py")
    result = subprocess.run([sys.executable, program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout.split() == [check.__name__ for check in CHECKS]
