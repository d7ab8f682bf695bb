"""What a tool does not use it does not import; what is put off is there when it is used."""

import json
import subprocess
import sys

import pytest
from tools_helpers import ROOT

pytestmark = pytest.mark.slow

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

# A function that timm excludes from compilation must stay excluded: a backend that keeps the
# graphs that it is given sees the addition, but not the product.
ASK_TIMM = """
import json, sys
import morn_plugin.utils.lighter_imports
import torch
disable = torch.compiler.disable
import timm
from timm.layers.typing import disable_compiler
from timm.models import _hub
early = [name for name in ('torch._dynamo', 'huggingface_hub') if name in sys.modules]

@disable_compiler
def double(value):
    return value * 2

graphs = []
def keep(graph, inputs):
    graphs.append(str(graph.graph))
    return graph.forward

compiled = torch.compile(lambda value: double(value + 1), backend=keep)(torch.ones(1))
seen = [any(word in graph for graph in graphs) for word in ('add', 'mul')]
same = torch.compiler.disable is disable

from timm.models.naflexvit import NaFlexVit
try:
    _hub.hf_hub_download('no/such', 'file', local_files_only=True)
except Exception as error:
    from huggingface_hub.utils import EntryNotFoundError
    raised = isinstance(error, FileNotFoundError), _hub.EntryNotFoundError is EntryNotFoundError
print(json.dumps([early, compiled.item(), seen, same, raised]))
"""

ASK_SHARDING = f"""
import json, sys
sys.modules['__main__'].__file__ = {str(ROOT / 'tools' / 'predict.py')!r}
from morn_plugin.utils.lighter_imports import import_without_sharding
import_without_sharding()
import morn_plugin.apis
early = [name for name in sys.modules if name.startswith('torch.distributed.fsdp')]
names = ['mmengine.model.wrappers.fully_sharded_distributed', 'mmengine._strategy.fsdp']
left = [name for name in names if name in sys.modules]
from torch.distributed.optim.named_optimizer import _NamedOptimizer
print(json.dumps([early, left, _NamedOptimizer.__name__]))
"""

# Another release may need names that the stand-ins lack; here they lack all.
EMPTY_STAND_INS = f"""
import json, sys, types
sys.modules['__main__'].__file__ = {str(ROOT / 'tools' / 'predict.py')!r}
sys.modules['torchvision'] = None  # for now, so that nothing is imported yet
from morn_plugin.utils import lighter_imports
del sys.modules['torchvision']

def make_empty(name, **content):
    made.append(name)
    module = types.ModuleType(name)
    module.__path__ = []
    return module

made = []
lighter_imports._make_module = make_empty
lighter_imports.import_torchvision()
lighter_imports.import_without_sharding()

import torch
from torchvision.ops import roi_align
boxes, image = torch.tensor([[0.0, 1, 1, 3, 3]]), torch.arange(16.0).reshape(1, 1, 4, 4)
pooled = roi_align(image, boxes, 1, aligned=True).item()

import morn_plugin.apis
from mmengine.model import BaseModel, MMFullyShardedDataParallel
is_real = issubclass(MMFullyShardedDataParallel, torch.nn.Module)

import timm
from timm.models import _hub
hub = _hub.has_hf_hub(), _hub.HfApi.__module__, timm.is_model('resnet18')
left = [name for name in made if isinstance(sys.modules.get(name), types.ModuleType)
        and not getattr(sys.modules[name], '__file__', None)]
print(json.dumps([pooled, is_real, hub, left, len(made)]))
"""


def ask(code):
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code],
        env=dict(PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        timeout=200,
        check=True,
    )
    return json.loads(done.stdout)


def test_what_is_slow_is_imported_when_it_is_used():
    # The box spans pixels 1 to 3 in both axes; its mean, at 2 - 0.5, is 4 * 1.5 + 1.5.
    assert ask(ASK) == [[], 7.5, 2.0, True]


def test_timm_comes_without_the_compiler_and_the_hub_until_they_are_used():
    pytest.importorskip('timm')
    pytest.importorskip('huggingface_hub')
    early, value, seen, same, raised = ask(ASK_TIMM)
    assert early == []
    assert value == 4
    assert seen == [True, False]
    assert same
    assert raised == [True, True]


def test_a_program_that_predicts_comes_without_sharded_training():
    assert ask(ASK_SHARDING) == [[], [], '_NamedOptimizer']


def test_releases_that_need_more_are_imported_as_they_are():
    pytest.importorskip('timm')
    pytest.importorskip('huggingface_hub')
    pooled, is_real, hub, left, number = ask(EMPTY_STAND_INS)
    assert pooled == 7.5
    assert is_real
    assert hub == [True, 'huggingface_hub.hf_api', True]
    assert left == []
    assert number == 7
