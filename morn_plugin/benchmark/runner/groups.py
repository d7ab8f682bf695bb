"""Lists the tables of a benchmark's page, with notes for the reader."""

from collections.abc import Callable, Sequence

from ..results import Group
from .joint import name_table, share_epochs
from .methods import LINEAR, Method

#: The tiers of methods that a linear classifier on the same features is the control of.
FROZEN_TIERS = ('features', 'maps')
#: The second reference of methods that predict sequences of labels.
MULTI_ORDER = 'morn'
NOTE_ON_LINEAR = (
    'The CNN is trained; then each method is, on its outputs. The linear classifier on its pooled '
    'features is trained the second time as well, so that only the method differs.'
)


def list_groups(
    methods: Sequence[Method], reference: str, epochs: int, has_runs: Callable[[str], bool]
) -> list[Group]:
    """List the tables: all methods, and those with a second reference.

    These are sequences, methods on features and maps, and methods of several views.

    Args:
        methods: The methods of the benchmark.
        reference: The method that they are compared with.
        epochs: Number of epochs of the CNN.
        has_runs: Returns whether a method has runs; a table needs runs of its reference.
    """
    groups = [Group('methods', 'The methods', reference, note=_note_on_passes(methods, epochs))]
    sequences = [method.name for method in methods if 'sequences' in method.groups]
    if sequences and has_runs(MULTI_ORDER):
        title = 'Sequences, against the Multi-order RNN'
        groups.append(Group('sequences', title, MULTI_ORDER, sequences))

    frozen = [method.name for method in methods if method.tier in FROZEN_TIERS]
    if len(frozen) > 1 and reference != LINEAR and has_runs(LINEAR):
        title = 'Features and maps, against a linear classifier'
        groups.append(Group('features', title, LINEAR, frozen, NOTE_ON_LINEAR))

    controls = {method.views: method.control for method in methods if method.control}
    for views, control in sorted(controls.items()):
        if has_runs(control):
            title, note = f'{views} views of an image', _note_on_views(views, epochs)
            groups.append(Group(name_table(views), title, control, [reference], note))
    return groups


def _note_on_passes(methods: Sequence[Method], epochs: int) -> str:
    """Describe the training of methods that train the CNN, if there are any of one view."""
    if not any(method.is_joint and method.views == 1 for method in methods):
        return ''
    return (
        'Rows that see *joint* train the CNN itself, the CNN alone among them: from the same '
        f'ImageNet weights, by the same schedule, {epochs} epochs of one view of an image, which '
        f'are {epochs} passes an image for each of them.'
    )


def _note_on_views(views: int, epochs: int) -> str:
    own = share_epochs(epochs, views)
    return (
        f'Each step sees {views} views of an image, so these methods and their control train for '
        f'{own} epochs, {own * views} passes an image, next to {epochs} of the CNN. The control, '
        'with which the others are compared, has the same views without the idea of a method; '
        'against the CNN it shows what several views bring.'
    )
