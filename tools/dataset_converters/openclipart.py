"""Convert the Open Clip Art Library to images and MultiLabelDataset JSON; see --help."""

import sys

from morn_plugin.datasets.converters.openclipart import run

if __name__ == '__main__':
    sys.exit(run())
