"""Convert MS-COCO, or data in its format, to MultiLabelDataset JSON; see --help."""

import sys

from morn_plugin.datasets.converters import run
from morn_plugin.datasets.converters.coco import CONVERTER

if __name__ == '__main__':
    sys.exit(run(CONVERTER))
