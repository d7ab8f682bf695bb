"""Convert a folder of images and a table of tags to MultiLabelDataset JSON; see --help."""

import sys

from morn_plugin.datasets.converters import run
from morn_plugin.datasets.converters.tags import CONVERTER

if __name__ == '__main__':
    sys.exit(run(CONVERTER))
