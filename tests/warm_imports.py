"""What the process that the tools are forked from imports, once for all of them."""

import gc

import mmengine.runner  # noqa: F401
import mmpretrain.datasets  # noqa: F401
import tiny_cnn  # noqa: F401

import morn_plugin.apis
import morn_plugin.visualization  # noqa: F401  with matplotlib

gc.collect()
gc.freeze()  # a collection in a fork would copy every page that it looks at
