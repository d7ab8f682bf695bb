"""Limits that a tool shows in its help, and what it calls keeps to."""

MAX_GB = 20.0  # of a file of cached CNN outputs, unless a user asks for more
MIN_CHECKED_IMAGES = 3  # of an export, so that batches of several sizes can be checked
