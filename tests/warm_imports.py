"""What the process that the tools are forked from imports, once for all of them.

Also what a tool imports only when it needs it: sklearn alone takes two seconds.
"""

import gc
from contextlib import suppress

import matplotlib.backends.backend_agg
import matplotlib.figure  # noqa: F401
import mmengine.runner  # noqa: F401
import mmpretrain.datasets
import mmpretrain.engine
import mmpretrain.visualization  # noqa: F401
import setuptools  # noqa: F401  MMEngine looks for it in each config
import sklearn.metrics  # noqa: F401
import tiny_cnn  # noqa: F401
import torch.export._trace  # noqa: F401

import morn_plugin.apis.reporting
import morn_plugin.visualization  # noqa: F401

with suppress(ImportError):
    import timm  # noqa: F401
with suppress(ImportError):
    import onnxruntime  # noqa: F401
    import onnxscript.function_libs.torch_lib.ops  # noqa: F401

gc.collect()
gc.freeze()  # a collection in a fork would copy every page that it looks at
