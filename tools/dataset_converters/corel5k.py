"""Convert Corel5K to MultiLabelDataset JSON; see --help."""

import sys

from morn_plugin.datasets.converters import run
from morn_plugin.datasets.converters.corel5k import CONVERTER

if __name__ == '__main__':
    sys.exit(run(CONVERTER))
