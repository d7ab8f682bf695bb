"""Importing this module lets MMEngine format the same text of a config only once.

MMEngine asks yapf for the text of a config half a dozen times when a run starts, and again with
each checkpoint. One time takes a quarter of a second, and the text is the same.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from mmengine.config import config

NUM_TEXTS = 16

FormatCode = Callable[..., tuple[str, bool]]


def remember_texts(format_code: FormatCode) -> FormatCode:
    """Return yapf's ``FormatCode`` with a memory of the last ``NUM_TEXTS`` results.

    Each combination of text and options counts separately, and errors are not remembered.
    """
    known: dict[str, dict[str, Any]] = {}

    @lru_cache(maxsize=NUM_TEXTS)
    def format_once(text: str, described: str) -> tuple[str, bool]:
        return format_code(text, **known[described])

    def format_text(text: str, **options: Any) -> tuple[str, bool]:
        described = repr(options)
        known[described] = options
        return format_once(text, described)

    return format_text


config.FormatCode = remember_texts(config.FormatCode)
