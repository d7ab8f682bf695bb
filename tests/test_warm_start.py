"""A process that the tests fork has imported what tools need before it begins."""

import os

import pytest
from warm_start import WarmProcess

pytestmark = pytest.mark.slow  # starts a process

ASK = """
import sys
print(sorted({'warm_imports', 'torch', 'mmpretrain', 'sklearn', 'tiny_cnn'} & set(sys.modules)))
"""


def test_everything_is_imported_before(tmp_path):
    script = tmp_path / 'ask.py'
    script.write_text(ASK)
    process = WarmProcess(script, [], tmp_path, dict(os.environ))
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0, printed
    assert printed.strip() == str(['mmpretrain', 'sklearn', 'tiny_cnn', 'torch', 'warm_imports'])
