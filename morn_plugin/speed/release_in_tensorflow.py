"""The training step of the authors' release in TensorFlow, as a peer of ours.

Their file is not part of this package. This is the same graph with the names of its variables:
batch norm of the scores, ``BasicLSTMCell``, two output layers, the cumulative mask, and TensorFlow
1's RMSProp, run in graph mode with arrays fed from outside. Given the release's variables it has
the release's loss, gradients and updates (tests/test_speed/test_release_in_tensorflow.py).

N images, C labels, H cells, M embedding width, T steps.
"""

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from ..engine import TFRMSprop
from ..models.label_decoders.release import PREFIX, decoder_from_release
from ..utils.extras import require_extra
from .steps import LR, Sizes, make_batch, make_ours, step_ratios, train_step
from .timing import Table, ratio_range, time_in_turn

#: Of the release's optimiser.
DECAY, MOMENTUM, EPSILON = 0.9, 0.9, 1.0
EPS_OF_NORM, STATISTICS_KEPT = 1e-3, 0.95


class ReleaseStep(NamedTuple):
    """A graph with its session; all names are those of the release.

    Attributes:
        session: Runs the graph.
        fetches: ``'loss'``, and ``'train'``, which also returns None after an update.
        feeds: The placeholders of ``'scores'`` and ``'target'``, (N, C).
        variables: Name to variable.
        gradients: Name to the gradient of the loss.
    """

    session: Any
    fetches: dict[str, Any]
    feeds: dict[str, Any]
    variables: dict[str, Any]
    gradients: dict[str, Any]

    def train(self, scores: np.ndarray, target: np.ndarray) -> float:
        """Take one step on scores and target (N, C), and return the loss before it."""
        feeds = {self.feeds['scores']: scores, self.feeds['target']: target}
        _, loss = self.session.run([self.fetches['train'], self.fetches['loss']], feeds)
        return float(loss)


def draw_variables(sizes: Sizes, seed: int = 0) -> dict[str, np.ndarray]:
    """Draw variables with the names and shapes of the release's checkpoints.

    Args:
        sizes: C, H and M are used.
        seed: Of the generator.
    """
    C, H, M = sizes.labels, sizes.cells, sizes.width
    shapes = {
        'initial_lstm/w_ph': (C, H),
        'initial_lstm/b_ph': (H,),
        'initial_lstm/w_pc': (C, H),
        'initial_lstm/b_pc': (H,),
        'word_embedding/w': (C + 1, M),
        'lstm/basic_lstm_cell/kernel': (M + H, 4 * H),
        'lstm/basic_lstm_cell/bias': (4 * H,),
        'logits/w_h': (H, M),
        'logits/b_h': (M,),
        'logits/w_out': (M, C),
        'logits/b_out': (C,),
    }
    generator = np.random.default_rng(seed)
    drawn = {name: generator.uniform(-0.1, 0.1, shape) for name, shape in shapes.items()}
    norm = dict(gamma=1, beta=0, moving_mean=0, moving_variance=1)
    drawn |= {
        f'init_prob_batch_norm/{name}': np.full(C, float(value)) for name, value in norm.items()
    }
    return {PREFIX + name: array.astype(np.float32) for name, array in drawn.items()}


def make_release(
    variables: Mapping[str, np.ndarray], images: int, steps: int, threads: int, lr: float = LR
) -> ReleaseStep:
    """Build the graph and its session on the CPU.

    Args:
        variables: The start, see :func:`draw_variables`.
        images: N.
        steps: T.
        threads: Of TensorFlow.
        lr: Learning rate.

    Raises:
        ImportError: If TensorFlow is not installed; gives the pip command.
    """
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
    tf = require_extra('tensorflow', 'tensorflow').compat.v1

    graph = tf.Graph()
    with graph.as_default():
        names = [name for name in variables if name.startswith(PREFIX)]
        known = {
            name.removeprefix(PREFIX): tf.Variable(
                variables[name], trainable='/moving_' not in name, use_resource=True
            )
            for name in names
        }
        shape = (images, known['logits/b_out'].shape[0])
        feeds = {name: tf.placeholder(tf.float32, shape) for name in ('scores', 'target')}

        loss, updates = _unroll(tf, known, steps, **feeds)
        trained = {PREFIX + name: value for name, value in known.items() if value.trainable}
        gradients = dict(zip(trained, tf.gradients(loss, list(trained.values())), strict=True))
        optimizer = tf.train.RMSPropOptimizer(lr, DECAY, MOMENTUM, EPSILON)
        pairs = [(gradients[name], trained[name]) for name in trained]
        train = tf.group(optimizer.apply_gradients(pairs), *updates)
        start = tf.global_variables_initializer()

    config = tf.ConfigProto(
        intra_op_parallelism_threads=threads,
        inter_op_parallelism_threads=threads,
        device_count=dict(GPU=0),
    )
    session = tf.Session(graph=graph, config=config)
    session.run(start)
    everything = {PREFIX + name: value for name, value in known.items()}
    return ReleaseStep(session, dict(loss=loss, train=train), feeds, everything, gradients)


def compare_release(sizes: Sizes, rounds: int, threads: int) -> Table:
    """Time the release's step in TensorFlow and two of ours in turn, from the same weights.

    Args:
        sizes: Of the step.
        rounds: Over which medians are taken.
        threads: Of TensorFlow; those of torch are set already.

    Raises:
        ValueError: If the losses of the first step differ.
    """
    variables, batch = draw_variables(sizes), make_batch(sizes)
    theirs = make_release(variables, sizes.images, sizes.steps, threads)
    arrays = [tensor.numpy() for tensor in batch]
    equal = _make_equal(variables, sizes.steps, *batch)

    losses = theirs.train(*arrays), float(equal())
    if not np.isclose(*losses, rtol=1e-5):
        raise ValueError(f'Expected equal losses of the first step, but got {losses}.')

    names = ["the release's, in TensorFlow", 'ours, the same step', "ours, the paper's step"]
    steps = [lambda: theirs.train(*arrays), equal, make_ours(sizes).step]
    times = time_in_turn(dict(zip(names, steps, strict=True)), rounds)
    ratios = {name: ratio_range(times[names[0]], values) for name, values in times.items()}
    return step_ratios(sizes, times, ratios, 'times as fast')


def _make_equal(
    variables: Mapping[str, np.ndarray], steps: int, scores: Tensor, target: Tensor
) -> Callable[[], Tensor]:
    """Return our step with the network, the loss and the optimiser of the release."""
    decoder = decoder_from_release(variables, steps)
    optimizer = TFRMSprop(decoder.parameters(), LR, DECAY, MOMENTUM, EPSILON)
    loss = lambda *batch: decoder.loss(*batch)['loss_multi_order']
    return partial(train_step, loss, optimizer, scores, target)


def _unroll(
    tf: Any, known: Mapping[str, Any], steps: int, scores: Any, target: Any
) -> tuple[Any, list[Any]]:
    """Return the loss of all steps, and the updates of the batch norm's statistics."""
    normal, updates = _normalise(tf, known, scores)
    hidden = tf.tanh(tf.matmul(normal, known['initial_lstm/w_ph']) + known['initial_lstm/b_ph'])
    cell = tf.tanh(tf.matmul(normal, known['initial_lstm/w_pc']) + known['initial_lstm/b_pc'])

    images, num_labels = scores.shape
    count = tf.reduce_sum(target, 1)
    row = tf.zeros([images], tf.int64)  # of START
    picked, total = tf.zeros_like(target), 0.0
    for step in range(steps):
        inputs = tf.nn.embedding_lookup(known['word_embedding/w'], row)
        hidden, cell = _run_cell(tf, known, inputs, hidden, cell)
        between = tf.tanh(tf.matmul(hidden, known['logits/w_h']) + known['logits/b_h'])
        logits = tf.matmul(between, known['logits/w_out']) + known['logits/b_out']

        remaining = target * (1 - picked)
        losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=remaining, logits=logits)
        counts = tf.cast(step < count, tf.float32)
        total += tf.reduce_sum(tf.reduce_sum(losses, 1) * counts)

        label = tf.argmax(logits, 1)
        picked = tf.maximum(picked, tf.one_hot(label, num_labels))
        row = label + 1
    return total / int(images), updates


def _normalise(tf: Any, known: Mapping[str, Any], scores: Any) -> tuple[Any, list[Any]]:
    """Normalise scores (N, C) by the statistics of the batch."""
    get = lambda name: known[f'init_prob_batch_norm/{name}']
    mean, variance = tf.nn.moments(scores, [0])
    updates = [
        tf.assign(kept, STATISTICS_KEPT * kept + (1 - STATISTICS_KEPT) * new)
        for kept, new in ((get('moving_mean'), mean), (get('moving_variance'), variance))
    ]
    normal = tf.nn.batch_normalization(
        scores, mean, variance, get('beta'), get('gamma'), EPS_OF_NORM
    )
    return normal, updates


def _run_cell(
    tf: Any, known: Mapping[str, Any], inputs: Any, hidden: Any, cell: Any
) -> tuple[Any, Any]:
    """Return the state (N, H) and the memory (N, H) after a step of ``BasicLSTMCell``."""
    gates = tf.matmul(tf.concat([inputs, hidden], 1), known['lstm/basic_lstm_cell/kernel'])
    gates = tf.nn.bias_add(gates, known['lstm/basic_lstm_cell/bias'])
    i, j, f, o = tf.split(gates, 4, 1)
    cell = cell * tf.sigmoid(f + 1.0) + tf.sigmoid(i) * tf.tanh(j)
    return tf.tanh(cell) * tf.sigmoid(o), cell
