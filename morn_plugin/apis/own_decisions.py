"""What a model's own decision is, for whoever shows scores beside labels."""

from collections.abc import Sequence
from typing import Any

from ..models.heads.decision_head import DecisionHead


def plain_decision(head: Any) -> dict[str, Any] | None:
    """Return a head's decision as ``thr`` or ``topk`` of the scores that it shows.

    Args:
        head: One of this package's, or of MMPretrain's, which may have both: ``thr`` decides.

    Returns:
        None where neither says which labels are predicted: the decoder decides itself, or a rule
        looks at the image.
    """
    if not isinstance(head, DecisionHead):
        return dict(thr=getattr(head, 'thr', None), topk=getattr(head, 'topk', None))
    plain = head.plain_decision
    return None if plain is None else dict(thr=None, topk=None) | plain


def own_threshold(head: Any) -> float | list[float] | None:
    """Return the threshold above which a head predicts a label, one or one for each label.

    Returns:
        None where labels are chosen in another way: the best few, a sequence, a learnt number.
    """
    plain = plain_decision(head)
    if plain is None:
        return None

    thr = plain['thr']
    topk = plain['topk']
    if thr is None:
        return 0.5 if topk is None else None
    if isinstance(thr, Sequence):
        return list(thr) if len(set(thr)) > 1 else float(thr[0])

    return float(thr)
