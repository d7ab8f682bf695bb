"""Evaluation: pure functions and registered metrics.

The functions need only NumPy, SciPy and scikit-learn. The metrics need torch and MMPretrain and are
imported on first use.
"""

from typing import Any

METRICS = (
    'ConstantAnswer',
    'DumpScores',
    'MeanAveragePrecision',
    'OverallF1',
    'PerImageF1',
    'PerLabelF1',
    'TopOneAccuracy',
)


def __getattr__(name: str) -> Any:
    """Import a metric."""
    if name not in METRICS:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from . import metrics

    return getattr(metrics, name)
