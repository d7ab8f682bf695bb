"""The functions behind the tools."""

from morn_plugin import registration  # noqa: F401  these functions build registered classes
from morn_plugin.utils.arguments import add_common_arguments, add_model_arguments

from .config import load_config
from .config_check import ConfigError, build_early, check_config
from .config_reading import read_config
from .inferencer import MultiLabelInferencer

__all__ = [
    'ConfigError',
    'MultiLabelInferencer',
    'add_common_arguments',
    'add_model_arguments',
    'build_early',
    'check_config',
    'load_config',
    'read_config',
]
