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


@pytest.fixture(scope='module')
def sound(work_dir):
    return torch.load(work_dir / 'epoch_1.pth', weights_only=True)


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
def test_a_config_that_leads_elsewhere(name, sound, folder):
    line, reason = LINES[name]
    text = f'{sound["meta"]["cfg"]}\n{line}\n'
    assert_refused(write_checkpoint(folder / 'model.pth', sound, text), reason)


@pytest.mark.parametrize('name', TEXTS)
def test_a_config_that_is_none(name, sound, folder):
    text, reason = TEXTS[name]
    assert_refused(write_checkpoint(folder / 'model.pth', sound, text), reason)


@pytest.mark.parametrize('name', CONTENTS)
def test_a_checkpoint_of_another_shape(name, sound, folder):
    change, reason = CONTENTS[name]
    if change.keys() & {'meta', 'state_dict', 'dataset_meta', 'classes'}:
        path = write_checkpoint(folder / 'model.pth', sound, **change)
    else:
        path = write_weights(folder / 'model.pth', sound, change)
    assert_refused(path, reason)
