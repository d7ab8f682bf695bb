"""The tools, given a stranger's files: an error in a sentence, no traceback, nothing run."""

import json
import sys

import pytest
import torch
from hostile_files import BIAS, MARK, MODULE, RUN, lay_out, write_checkpoint, write_weights
from tools_helpers import ROOT, SLICE, run_in_process

pytestmark = pytest.mark.slow  # starts processes

PICTURES = sorted((SLICE / 'images' / 'animals').glob('*.webp'))[:3]
OWN = ROOT / 'tests' / 'data' / 'own_methods.py'
TOOLS = {
    'predict.py': lambda model: [model, *PICTURES],
    'export.py': lambda model: [model, '--out', 'm.onnx', '--images', *PICTURES],
    'serve.py': lambda model: [model, '--port', 0],
    'analysis/report.py': lambda model: [model, '--out', 'r.html'],
    'analysis/calibrate.py': lambda model: [model, '--out', 't.json'],
    'analysis/label_graph.py': lambda model: [model, '--out-dir', 'graph'],
    'analysis/throughput.py': lambda model: [model, *PICTURES, '--rounds', 1],
    'model_converters/merge_decoder.py': lambda model: [model, model, 'merged.pth'],
}
OF_CONFIGS = [name for name in TOOLS if 'merge' not in name]
CONFIGS = {
    'a command': (f'model = {RUN}', 'subprocess.run'),
    'a module': (f"custom_imports = dict(imports=['{MODULE}'])", MODULE),
    'a text in place of imports': (f'custom_imports = {MODULE!r}', 'custom_imports'),
    'an unknown class': ("model['head'] = 1", 'plain values'),
    'a model of a wrong kind': ('model = 5', '`model`'),
    'no data': ('test_dataloader = None', 'test_dataloader'),
    'an empty pipeline': ('test_dataloader = dict(dataset=dict(pipeline=[]))', 'pipeline'),
    'arguments that nobody takes': (
        "model = dict(type='ImageClassifier', backbone=dict(type='ResNet', depth='x'))",
        'cannot be built',
    ),
}
CONTENTS = {
    'meta': (dict(meta=[1]), '`meta`'),
    'weights': (dict(state_dict=[1]), '`state_dict`'),
    'classes': (dict(classes=5), 'classes'),
}


@pytest.fixture(scope='module')
def sound(work_dir):
    return torch.load(work_dir / 'epoch_1.pth', weights_only=True)


@pytest.fixture
def refuse(tmp_path, monkeypatch, capfd):
    """Run a tool on a model, and require an error that names the file and gives a reason."""
    lay_out(tmp_path, monkeypatch)

    def run(name, path, reason):
        with pytest.raises(SystemExit) as caught:
            run_in_process(monkeypatch, capfd, name, *TOOLS[name](path))
        printed = ''.join(capfd.readouterr())
        assert 'Traceback' not in printed
        assert isinstance(caught.value.code, str), f'{caught.value.code}: {printed}'
        assert path.name in caught.value.code + printed
        assert reason in caught.value.code + printed
        assert not (tmp_path / MARK).exists()
        assert MODULE not in sys.modules
        return caught.value.code, printed

    yield run
    sys.modules.pop(MODULE, None)


@pytest.mark.parametrize('tool', OF_CONFIGS)
@pytest.mark.parametrize('name', CONFIGS)
def test_a_config_that_leads_elsewhere(tool, name, sound, refuse, tmp_path):
    line, reason = CONFIGS[name]
    text = f'{sound["meta"]["cfg"]}\n{line}\n'
    refuse(tool, write_checkpoint(tmp_path / 'model.pth', sound, text), reason)


@pytest.mark.parametrize('tool', OF_CONFIGS)
def test_the_users_word_reaches_every_tool(tool, sound, tmp_path, monkeypatch, capfd):
    """With it, and only with it, the command in the config runs."""
    monkeypatch.chdir(tmp_path)
    path = write_checkpoint(tmp_path / 'model.pth', sound, f'model = {RUN}')
    arguments = [*TOOLS[tool](path), '--trust-config']
    with pytest.raises(SystemExit, match='expected a multi-label classifier, but got Completed'):
        run_in_process(monkeypatch, capfd, tool, *arguments)
    assert (tmp_path / MARK).exists()


@pytest.mark.parametrize('tool', TOOLS)
@pytest.mark.parametrize('name', CONTENTS)
def test_a_checkpoint_of_another_shape(tool, name, sound, refuse, tmp_path):
    change, reason = CONTENTS[name]
    refuse(tool, write_checkpoint(tmp_path / 'model.pth', sound, **change), reason)


@pytest.mark.parametrize('tool', TOOLS)
def test_a_file_that_is_none(tool, refuse, tmp_path):
    path = tmp_path / 'model.pth'
    path.write_bytes(b'PK\x03\x04 and no more')
    refuse(tool, path, 'not a whole archive')


@pytest.mark.parametrize(
    'tool', ['predict.py', 'export.py', 'analysis/report.py', 'analysis/calibrate.py']
)
def test_weights_that_are_no_numbers(tool, sound, refuse, tmp_path):
    change = {BIAS: torch.full_like(sound['state_dict'][BIAS], float('nan'))}
    path = write_weights(tmp_path / 'model.pth', sound, change)
    code, printed = refuse_nan(tool, path, refuse)

    if tool == 'predict.py':
        lines = [json.loads(line) for line in printed.splitlines() if line.startswith('{')]
        assert len(lines) == len(PICTURES)
        assert all(line.keys() == {'img_path', 'error'} for line in lines)
        assert 'NaN' not in printed
        assert code == f'{len(PICTURES)} of {len(PICTURES)} images could not be read.'


def refuse_nan(tool, path, refuse):
    """predict.py names the images, the others the model or the first image."""
    if tool == 'predict.py':
        path = path.rename(path.with_name(PICTURES[0].name))
    return refuse(tool, path, 'are not finite')
