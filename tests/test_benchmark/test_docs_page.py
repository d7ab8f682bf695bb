"""The page on pages: its code and its command run, one after the other."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / 'docs' / 'benchmark_page.md').read_text(encoding='utf-8')


def test_code_and_command_of_the_page(tmp_path):
    pytest.importorskip('statsmodels')
    (code,) = re.findall(r'```python\n(.*?)```', PAGE, flags=re.S)
    (command,) = re.findall(r'```bash\n(.*?)```', PAGE, flags=re.S)
    (tmp_path / 'tools').symlink_to(ROOT / 'tools')
    (tmp_path / 'store.py').write_text(code)
    for call in (['store.py'], shlex.split(command)[1:]):
        done = subprocess.run(
            [sys.executable, *call],
            cwd=tmp_path,
            env=dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1'),
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    text = (tmp_path / 'page' / 'README.md').read_text(encoding='utf-8')
    assert '# My images: which method' in text
    assert 'My method' in text
    names = {path.name for path in (tmp_path / 'page').iterdir()}
    assert {'results.csv', 'comparisons.csv', 'README.md', 'methods.png'} <= names
