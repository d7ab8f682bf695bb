"""The columns of all result tables: their names, and the metrics' keys behind them.

``docs/metrics.md`` says what each figure means.
"""

#: Name of a column to the key of its metric, in the order of a full table.
METRIC_KEYS = {
    'P_L': 'per-label/precision',
    'R_L': 'per-label/recall',
    'F1_L': 'per-label/f1-score',
    'P_I': 'per-image/precision',
    'R_I': 'per-image/recall',
    'F1_I': 'per-image/f1-score',
    'OP': 'overall/precision',
    'OR': 'overall/recall',
    'OF1': 'overall/f1-score',
    'mAP': 'multi-label/mAP',
    'N+': 'per-label/n-plus',
    'top-1': 'one-step/top-1',
}
ALL_COLUMNS = tuple(METRIC_KEYS)

PER_LABEL_COLUMNS = ALL_COLUMNS[:3]
PER_IMAGE_COLUMNS = ALL_COLUMNS[3:6]
OVERALL_COLUMNS = ALL_COLUMNS[6:9]

#: The columns of the paper's Table 1.
PAPER_COLUMNS = PER_LABEL_COLUMNS + PER_IMAGE_COLUMNS

#: The names of columns in most other papers. By our conventions the figures are equal.
OTHER_NAMES = dict(zip(PER_LABEL_COLUMNS, ('CP', 'CR', 'CF1'), strict=True))
