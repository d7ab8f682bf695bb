"""What a tool does not use it does not import; what is put off is there when it is used."""

import json
import subprocess
import sys

from tools_helpers import ROOT

ASK = """
import json, sys
import morn_plugin
slow = ('matplotlib', 'scipy', 'pandas', 'gradio', 'sklearn', 'torch._dynamo')
early = [name for name in slow if name in sys.modules]

import torch, torchvision
from torchvision.ops import roi_align
boxes, image = torch.tensor([[0.0, 1, 1, 3, 3]]), torch.arange(16.0).reshape(1, 1, 4, 4)
pooled = roi_align(image, boxes, 1, aligned=True)
compiled = torch.compile(lambda value: value + 1, backend='eager')(torch.ones(1))
from morn_plugin.visualization import Prediction, draw_record
print(json.dumps([early, pooled.item(), compiled.item(), 'torch._dynamo' in sys.modules]))
"""


def test_what_is_slow_is_imported_when_it_is_used():
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', ASK],
        env=dict(PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        timeout=200,
        check=True,
    )
    # The box spans pixels 1 to 3 in both axes; its mean, at 2 - 0.5, is 4 * 1.5 + 1.5.
    assert json.loads(done.stdout) == [[], 7.5, 2.0, True]
