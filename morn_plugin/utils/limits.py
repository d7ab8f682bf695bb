"""Limits that tools show in their help and their functions enforce."""

MAX_GB = 20.0  # of a file of cached CNN outputs, unless a user asks for more
MIN_CHECKED_IMAGES = 3  # of an export, so that batches of several sizes can be checked
