"""Genuine checkpoints of MMEngine load with ``weights_only=True``; crafted ones do not."""

import io
import os
import pickle
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.logging.history_buffer import HistoryBuffer

from morn_plugin.engine.safe_loading import HISTORY_METHODS, guarded_getattr


def load(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def test_a_checkpoint_with_a_message_hub():
    hub = MessageHub('test_a_checkpoint_with_a_message_hub')
    for value in (3.0, 1.0):
        hub.update_scalar('train/loss', value)
        hub.update_scalar('train/acc', np.float32(value))

    hub.update_info('iter', 7)
    linear = torch.nn.Linear(2, 2)
    optimiser = torch.optim.AdamW(linear.parameters())
    linear(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    checkpoint = load(
        dict(
            meta=dict(epoch=1, dataset_meta=dict(classes=('cat', 'dog'))),
            state_dict=linear.state_dict(),
            optimizer=optimiser.state_dict(),
            message_hub=hub.state_dict(),
        )
    )
    scalars = checkpoint['message_hub']['log_scalars']
    assert scalars['train/loss'].mean() == 2
    assert scalars['train/loss'].min() == 1
    assert checkpoint['message_hub']['runtime_info'] == dict(iter=7)
    assert torch.equal(checkpoint['state_dict']['weight'], linear.weight)


@pytest.mark.parametrize(
    'array',
    [
        np.arange(3.0),
        np.arange(3),
        np.float64(2),
        np.int64(2),
        np.uint32(2),
        np.float32(2),
        np.random.RandomState(0).get_state()[1],
    ],
    ids=repr,
)
def test_numbers_of_numpy(array):
    assert np.array_equal(load(array), array)


class Reduced:
    """Pickles as a call of whatever it is given."""

    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


HOSTILE = {
    'os.system': Reduced(os.system, 'true'),
    'eval': Reduced(eval, '1'),
    'exec': Reduced(exec, '1'),
    'open': Reduced(open, os.devnull),
    'import': Reduced(__import__, 'os'),
    **{
        f'getattr of HistoryBuffer {name}': Reduced(getattr, HistoryBuffer, name)
        for name in (
            '__init__',
            '__globals__',
            '__class__',
            '__subclasses__',
            '__reduce_ex__',
            '_set_default_statistics',
            'register_statistics',
            'min.__func__',
        )
    },
    'getattr of another class': Reduced(getattr, np.ndarray, 'min'),
    'getattr of a method': Reduced(getattr, Reduced(getattr, HistoryBuffer, 'min'), '__globals__'),
}


@pytest.mark.parametrize('content', HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_content_is_refused(content):
    with pytest.raises((pickle.UnpicklingError, TypeError)):
        load(dict(meta=content))


def test_the_hostile_content_is_hostile():
    """Plain pickle would run it: what is refused above is no empty shell."""
    assert pickle.loads(pickle.dumps(HOSTILE['eval'])) == 1  # noqa: S301
    assert (
        pickle.loads(pickle.dumps(HOSTILE['getattr of HistoryBuffer __init__']))  # noqa: S301
        is HistoryBuffer.__init__
    )


def test_the_file_names_the_real_getattr():
    """The guard answers to the name that genuine files use."""
    buffer = io.BytesIO()
    torch.save(HistoryBuffer(), buffer)
    with ZipFile(buffer) as archive:
        data = next(archive.read(name) for name in archive.namelist() if name.endswith('data.pkl'))
    assert b'builtin' in data
    assert b'getattr' in data


@pytest.mark.parametrize('name', HISTORY_METHODS)
def test_the_methods_that_are_allowed(name):
    assert guarded_getattr(HistoryBuffer, name) is getattr(HistoryBuffer, name)


def test_the_refusal_says_what_was_asked_for():
    with pytest.raises(TypeError, match=r"'__globals__'.*do not trust"):
        guarded_getattr(HistoryBuffer, '__globals__')
