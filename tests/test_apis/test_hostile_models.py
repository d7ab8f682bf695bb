"""A stranger's checkpoint: refused with file and reason; nothing of it is run, fetched or followed."""

import sys
from pathlib import Path

import pytest
import torch
from hostile_files import (
    ARGUMENTS,
    CONTENTS,
    GROWTH,
    IMPORTS,
    MARK,
    MODULE,
    NAMES,
    TEXTS,
    TYPES,
    in_bounds,
    lay_out,
    write_checkpoint,
    write_weights,
)

from morn_plugin.apis import MultiLabelInferencer

LINES = {
    f'{kind}: {name}': case
    for kind, cases in dict(
        type=TYPES, name=NAMES, argument=ARGUMENTS, custom_imports=IMPORTS, growth=GROWTH
    ).items()
    for name, case in cases.items()
}
# What is built after the weights were loaded.
FOUND_LATER = ('argument: a transform looked up by name',)


@pytest.fixture(scope='module')
def sound(work_dir):
    return torch.load(work_dir / 'epoch_1.pth', weights_only=True)


@pytest.fixture(scope='module')
def few_weights(sound):
    """The same with the weights of the head alone: its config is what is to be refused."""
    weights = sound['state_dict'].items()
    return sound | dict(state_dict={name: w for name, w in weights if name.startswith('head.')})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    lay_out(tmp_path, monkeypatch)
    yield tmp_path
    sys.modules.pop(MODULE, None)


def assert_refused(path: Path, reason: str) -> None:
    """Require an error that names file and reason, in little time and memory, and nothing run."""
    with in_bounds(), pytest.raises(ValueError, match=reason) as caught:
        MultiLabelInferencer(path, device='cpu')
    text = str(caught.value)
    assert str(path) in text
    assert len(text) < 3000
    assert not (path.parent / MARK).exists()
    assert MODULE not in sys.modules


@pytest.mark.parametrize('name', LINES)
def test_a_config_that_leads_elsewhere(name, sound, few_weights, folder):
    line, reason = LINES[name]
    content = sound if name in FOUND_LATER else few_weights
    text = f'{sound["meta"]["cfg"]}\n{line}\n'
    assert_refused(write_checkpoint(folder / 'model.pth', content, text), reason)


@pytest.mark.parametrize('name', TEXTS)
def test_a_config_that_is_none(name, few_weights, folder):
    text, reason = TEXTS[name]
    assert_refused(write_checkpoint(folder / 'model.pth', few_weights, text), reason)


@pytest.mark.parametrize('name', CONTENTS)
def test_a_checkpoint_of_another_shape(name, sound, folder):
    change, reason = CONTENTS[name]
    if change.keys() & {'meta', 'state_dict', 'dataset_meta', 'classes'}:
        path = write_checkpoint(folder / 'model.pth', sound, **change)
    else:
        path = write_weights(folder / 'model.pth', sound, change)
    assert_refused(path, reason)
