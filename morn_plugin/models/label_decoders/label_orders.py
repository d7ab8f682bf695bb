"""Orders of the labels in a sequence (Sec. 4.4 of the paper).

Ties are sorted by name, so the order of the class list does not matter. An order that a decoder
finds in training starts from the order of the class list.
"""

from collections import Counter
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

LabelKey = Callable[[str, int], tuple]

STRATEGIES: dict[str, LabelKey] = {
    'frequent_first': lambda name, count: (-count, name),
    'rare_first': lambda name, count: (count, name),
    'lexicographic': lambda name, count: (name,),
}
#: Orders that a decoder finds itself in training, see ``sequence_objectives.py``.
LEARNT_ORDERS = ('mla', 'pla', 'pla_release', 'pool', 'pool_likelihood', 'ocd')


def check_order(order: str | Sequence[str]) -> None:
    """Raise unless ``order`` is a strategy or a list of names.

    Raises:
        ValueError: Names the strategies.
    """
    named = (*STRATEGIES, *LEARNT_ORDERS)
    if isinstance(order, str):
        fits = order in named
    else:
        fits = isinstance(order, Sequence) and all(isinstance(name, str) for name in order)

    if not fits:
        raise ValueError(
            f'Expected `order` to be one of {list(named)} or a list of all class names, but got '
            f'{order!r}.'
        )


def order_labels(
    order: str | Sequence[str],
    class_names: Sequence[str],
    counts: Sequence[int],
) -> list[int]:
    """Sort the labels.

    Args:
        order: ``'frequent_first'``, ``'rare_first'``, ``'lexicographic'``, all C names in the
            desired order, or one of ``LEARNT_ORDERS``.
        class_names: Names of the C labels.
        counts: Training images of each.

    Returns:
        The C class indices, in order.

    Raises:
        ValueError: If ``order`` is not a strategy, or a list without every class once; names the
            wrong ones.

    Examples:
        >>> order_labels('frequent_first', ['sky', 'cat', 'dog'], [5, 9, 5])
        [1, 2, 0]
        >>> order_labels('rare_first', ['sky', 'cat', 'dog'], [5, 9, 5])
        [2, 0, 1]
        >>> order_labels('lexicographic', ['sky', 'cat', 'dog'], [5, 9, 5])
        [1, 2, 0]
        >>> order_labels(['dog', 'sky', 'cat'], ['sky', 'cat', 'dog'], [5, 9, 5])
        [2, 0, 1]
    """
    check_order(order)
    if isinstance(order, str) and order in LEARNT_ORDERS:
        return list(range(len(class_names)))

    if isinstance(order, str):
        key = STRATEGIES[order]
        return sorted(
            range(len(class_names)), key=lambda label: key(class_names[label], counts[label])
        )

    problems = dict(
        missing=sorted(set(class_names) - set(order)),
        unknown=sorted(set(order) - set(class_names)),
        repeated=sorted(name for name, number in Counter(order).items() if number > 1),
    )
    if any(problems.values()):
        found = '; '.join(
            f'{kind}: {", ".join(map(repr, names))}' for kind, names in problems.items() if names
        )
        raise ValueError(
            f'Expected `order` to name each of the {len(class_names)} classes once, but {found}.'
        )

    index = {name: label for label, name in enumerate(class_names)}
    return [index[name] for name in order]


def build_sequences(target: Tensor, label_order: Tensor) -> tuple[Tensor, Tensor]:
    """Turn the true labels of each image into a sequence.

    Args:
        target: (N, C) in {0, 1, -1}.
        label_order: (C,), the class indices in order.

    Returns:
        Sequences (N, L), labels followed by END (C), where L is one more than the largest number of
        labels of an image; and their lengths (N,), including one END.

    Examples:
        >>> target = torch.tensor([[1, 1, 0], [0, 0, 0], [0, -1, 1]])
        >>> sequences, lengths = build_sequences(target, torch.tensor([2, 1, 0]))
        >>> sequences.tolist(), lengths.tolist()
        ([[1, 0, 3], [3, 3, 3], [2, 3, 3]], [3, 1, 2])
    """
    num_classes = target.shape[1]
    present = target[:, label_order] > 0
    lengths = present.sum(dim=1) + 1
    places = (
        torch.where(present, torch.arange(num_classes, device=target.device), num_classes)
        .sort(dim=1)
        .values
    )
    # (N, C + 1)
    symbols = F.pad(label_order, (0, 1), value=num_classes)[
        F.pad(places, (0, 1), value=num_classes)
    ]
    return symbols[:, : int(lengths.max())], lengths
