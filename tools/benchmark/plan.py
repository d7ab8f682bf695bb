"""What the benchmark trains: methods, ablations and the experiments that explain them, as data.

A *variant* is a way to train a decoder on cached scores, a *run* a variant at one learning rate and
seed. Seeds differ in
everything: the CNN (initialisation of its classifier, order, augmentation), and with it the scores,
and the decoder.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]  # where configs and tools are
# Where data is read and results are written: the checkout, or where the package is installed, the
# folder that one is in.
HOME = ROOT if (ROOT / 'setup.py').is_file() else Path.cwd()

CNN_CONFIG = 'cnn/cnn_efficientnet-lite0_1xb32-6e_openclipart-128px.py'
MORN = 'morn/morn_scores_1xb32-50e_openclipart.py'
SEQUENCE = 'cnn_rnn/cnn-rnn-{}_scores_1xb32-50e_openclipart.py'

SEEDS, ABLATION_SEEDS = 5, 3
EPOCHS = 15
JOINT_EPOCHS = 1  # of CNN and decoder together, after each was trained
# Each list reaches so far that the best lies inside: a rate at the end of a list could be better
# beyond it. SR-CNN-RNN is best at its lowest, below which there is only the decoder that it starts
# from.
LEARNING_RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)  # of every decoder
CNN_LEARNING_RATES = (2e-3, 4e-3, 8e-3)
JOINT_LEARNING_RATES = (3e-6, 1e-5, 3e-5, 1e-4, 3e-4)  # CNN and decoder are trained already: lower
TF_LEARNING_RATES = (
    1e-3,
    3e-3,
    1e-2,
    3e-2,
    1e-1,
)  # with epsilon 1.0 in the root, steps are far smaller
DROPPED_LABELS = 0.3  # of the training labels, in the experiment on incomplete ones
PAPER, BETTER = 'multi-order', 'release-norm'  # the second is offered as configs/morn/morn-bn_*


@dataclass(frozen=True)
class Variant:
    """One way to train or to use a decoder.

    Attributes:
        name: Folder of its runs.
        title: As the page calls it.
        group: The table it belongs to.
        config: Under ``configs/``.
        options: What is changed in the config, as ``--cfg-options``.
        seeds: Number of seeds.
        tuned_as: Name of the variant whose learning rate it takes; None: it has a search of its
            own.
        scores: Kind of cached scores: ``'full'``, ``'weak'`` (a CNN trained for one epoch),
            ``'incomplete'`` (training labels dropped).
        base: Not trained: the checkpoint of this variant, used with ``options``.
        joint: Trains CNN and decoder on images, from the CNN and the checkpoint of ``base``.
        has_threshold: Whether a label is predicted by its score; otherwise the decoder decides.
        reference: The variant that an ablation is compared with, by its name.
        learning_rates: Those that are searched.
    """

    name: str
    title: str
    group: str
    config: str = MORN
    options: dict[str, Any] = field(default_factory=dict)
    seeds: int = ABLATION_SEEDS
    tuned_as: str | None = PAPER
    scores: str = 'full'
    base: str | None = None
    joint: bool = False
    has_threshold: bool = True
    reference: str = PAPER
    learning_rates: tuple[float, ...] = LEARNING_RATES


HEAD = 'model.head.'
RELEASE = {
    HEAD + 'loss': dict(type='MaskedStepwiseBCELoss', mask='cumulative', steps='num_labels'),
    HEAD + 'test_feedback': 'unpicked',
    HEAD + 'picked_logit': -9.0,
    HEAD + 'state_norm': dict(eps=1e-3, momentum=0.05),
    HEAD + 'output_layer': 'mlp',
    HEAD + 'forget_bias': 1.0,
}
NORM = {HEAD + 'state_norm': RELEASE[HEAD + 'state_norm']}
TF_OPTIMIZER = {
    'optim_wrapper.optimizer.type': 'TFRMSprop',
    'optim_wrapper.optimizer.alpha': 0.9,
    'optim_wrapper.optimizer.momentum': 0.9,
    'optim_wrapper.optimizer.eps': 1.0,
    HEAD + 'sparse_embedding': True,
}


def _sequence(name: str, title: str, group: str, order: str, **settings: Any) -> Variant:
    return Variant(name, title, group, SEQUENCE.format(order), has_threshold=False, **settings)


def _frequent_first(name: str, title: str, group: str, **settings: Any) -> Variant:
    order = 'frequent-first'
    return _sequence(name, title, group, order, tuned_as=order, reference=order, **settings)


JOINT_MORN = 'morn/morn-joint_efficientnet-lite0_1xb32-1e_openclipart-128px.py'
VARIANTS: tuple[Variant, ...] = (
    *(
        _sequence(order, f'CNN-RNN, {order}', 'methods', order, seeds=SEEDS, tuned_as=None)
        for order in ('frequent-first', 'rare-first', 'lexicographic')
    ),
    Variant(
        'sr-cnn-rnn',
        'SR-CNN-RNN',
        'methods',
        'sr_cnn_rnn/sr-cnn-rnn_efficientnet-lite0_1xb32-1e_openclipart-128px.py',
        seeds=SEEDS,
        tuned_as=None,
        base='rare-first',
        joint=True,
        has_threshold=False,
        learning_rates=JOINT_LEARNING_RATES,
    ),
    Variant(PAPER, 'Multi-order RNN', 'methods', seeds=SEEDS, tuned_as=None),
    *(
        Variant(f'steps-{steps}', f'T = {steps}', 'steps', options={HEAD + 'num_steps': steps})
        for steps in (1, 2, 3, 8)
    ),
    *(
        Variant(f'mask-{mask}', f'mask: {mask}', 'mask', options={HEAD + 'loss.mask': mask})
        for mask in ('none', 'cumulative')
    ),
    Variant(
        'release-steps',
        'loss while t < number of labels',
        'release',
        options={HEAD + 'loss.steps': 'num_labels'},
    ),
    Variant(
        'release-feedback',
        'feedback at test: best label left',
        'release',
        base=PAPER,
        options={HEAD + 'test_feedback': 'unpicked', HEAD + 'picked_logit': -9.0},
    ),
    Variant(
        'release-output', 'two-layer output', 'release', options={HEAD + 'output_layer': 'mlp'}
    ),
    Variant('release-forget', 'forget bias 1', 'release', options={HEAD + 'forget_bias': 1.0}),
    Variant(
        'release-optimizer',
        "TensorFlow's RMSProp",
        'release',
        options=TF_OPTIMIZER,
        tuned_as=None,
        learning_rates=TF_LEARNING_RATES,
    ),
    Variant(
        'release',
        'the whole release',
        'release',
        options={**RELEASE, **TF_OPTIMIZER},
        tuned_as=None,
        learning_rates=TF_LEARNING_RATES,
    ),
    *(
        Variant(
            f'pooling-{pooling}',
            f'pooling: {pooling}',
            'pooling',
            base=PAPER,
            options={HEAD + 'pooling': pooling},
        )
        for pooling in ('mean', 'last')
    ),
    Variant(
        'joint',
        'gradient into the CNN',
        'gradient',
        config=JOINT_MORN,
        base=PAPER,
        joint=True,
        tuned_as=None,
        learning_rates=JOINT_LEARNING_RATES,
    ),
    Variant(
        'joint-detached',
        'CNN trains on, without it',
        'gradient',
        config=JOINT_MORN,
        base=PAPER,
        joint=True,
        tuned_as='joint',
        options={HEAD + 'detach_scores': True},
    ),
    Variant(
        'paper-schedule',
        "Multi-order, the paper's 50 epochs at 1e-4",
        'length',
        options={'train_cfg.max_epochs': 50},
        tuned_as=None,
        learning_rates=(1e-4,),
    ),
    *(
        Variant(
            f'epochs-{epochs}',
            f'Multi-order, {epochs} epochs',
            'length',
            options={'train_cfg.max_epochs': epochs},
        )
        for epochs in (5, 30)
    ),
    *(
        _frequent_first(
            f'frequent-first-epochs-{epochs}',
            f'frequent-first, {epochs} epochs',
            'length',
            options={'train_cfg.max_epochs': epochs},
        )
        for epochs in (5, 30)
    ),
    *(
        _frequent_first(
            f'beam-{beam}',
            f'frequent-first, beam of {beam}',
            'beam',
            base='frequent-first',
            options={HEAD + 'decoder.beam_size': beam},
        )
        for beam in (2, 5)
    ),
    *(
        variant
        for scores in ('weak', 'incomplete')
        for variant in (
            Variant(f'{scores}-{PAPER}', 'Multi-order RNN', scores, scores=scores),
            _frequent_first(
                f'{scores}-frequent-first', 'CNN-RNN, frequent-first', scores, scores=scores
            ),
        )
    ),
    Variant(
        BETTER,
        'Multi-order RNN, batch norm before the state',
        'release',
        options=NORM,
        seeds=SEEDS,
        tuned_as=None,
    ),
)
BY_NAME = {variant.name: variant for variant in VARIANTS}
