"""Oracles and small builders for the tests; nothing here calls the code under test but ``build_decoder``."""

from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from mmpretrain.structures import DataSample

GOLDEN = Path(__file__).parent / 'data' / 'golden'
NETWORKS = ('tiny_N4_C5_H8_M6_T3', 'small_N16_C20_H32_M16_T5', 'edge_neg9_N8_C6_H8_M6_T5')


@cache
def load_golden(name):
    """Read one file of the authors' fixtures as a dict of arrays."""
    with np.load(GOLDEN / f'{name}.npz') as file:
        return dict(file)


def under(arrays, prefix):
    """Give the arrays whose names start with a prefix, without it."""
    return {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}


def close(actual, expected, tolerance=1e-5):
    """Require agreement within a tolerance: absolute below 1, relative to the magnitude above."""
    actual = torch.as_tensor(actual)
    expected = torch.as_tensor(expected)
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance, check_dtype=False)


def naive_loss(step_logits, step_labels, target, mask, steps, pos_weight=None):
    """Eq. 5-7 by loops over images, steps and labels, straight from the text; works under autograd."""
    num_images, num_steps, num_classes = step_logits.shape
    total = 0 * step_logits.sum()  # has a gradient even where nothing counts

    for n in range(num_images):
        num_labels = sum(float(target[n, k]) > 0 for k in range(num_classes))
        for t in range(num_steps):
            if steps == 'num_labels' and t >= num_labels:
                continue

            masked = {
                'none': [],
                'previous': step_labels[n, max(t - 1, 0) : t].tolist(),
                'cumulative': step_labels[n, :t].tolist(),
            }[mask]
            for k in range(num_classes):
                if target[n, k] < 0:
                    continue

                y = 0.0 if k in masked else target[n, k].to(step_logits.dtype)
                weight = 1.0 if pos_weight is None else pos_weight[k]
                z = step_logits[n, t, k]
                total = total - weight * y * F.logsigmoid(z) - (1 - y) * F.logsigmoid(-z)

    return total / num_images


def naive_lstm_step(weights, row, h, c):
    """One LSTM step of one image in numpy, gates in our order: input, forget, output, candidate."""
    gates = (
        weights['weight_ih'] @ weights['embedding.weight'][row]
        + weights['weight_hh'] @ h
        + weights['bias']
    )
    sigmoid = lambda x: 1 / (1 + np.exp(-x))
    i, f, o, candidate = np.split(gates, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(candidate)
    return sigmoid(o) * np.tanh(c), c


def make_sample(labels=None, score=None, **fields):
    """Make a data sample with true labels as indices or as a target vector."""
    sample = DataSample(metainfo=dict(img_path=fields.pop('img_path', 'image.jpg')))
    if labels is not None:
        sample.set_field(torch.tensor(labels, dtype=torch.long), 'gt_label')
    if score is not None:
        sample.set_gt_score(torch.tensor(score, dtype=torch.float32))
    for name, value in fields.items():
        sample.set_field(value, name)
    return sample


def samples_of(target, **fields):
    """Make the samples of a target (N, C) in {0, 1, -1}, as an evaluator hands them to a metric; fields are (N, ...)."""
    return [
        dict(
            gt_score=torch.as_tensor(row),
            img_path=f'{index}.jpg',
            **{name: torch.as_tensor(value[index]) for name, value in fields.items()},
        )
        for index, row in enumerate(np.asarray(target, dtype=np.float32))
    ]
