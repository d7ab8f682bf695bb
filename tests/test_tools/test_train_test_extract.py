"""The tools from end to end, on the slice of Open Clip Art."""

import json
import time
from pathlib import Path

import mmengine
import pytest
import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS
from tools_helpers import (
    ROOT,
    SMALL_HEAD,
    read_scalars,
    run_failing,
    run_in_process,
    run_tool,
    start_tool,
    write_config,
)

from morn_plugin.apis import extracting
from morn_plugin.apis.faster import find_faster
from morn_plugin.apis.finding import find_model
from morn_plugin.datasets.cached.file import load_scores
from morn_plugin.models.folding import FoldedConv

pytestmark = pytest.mark.slow  # starts processes


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('tools')


@pytest.fixture(scope='module')
def trained(folder):
    """A model that was killed after its first epoch, resumed and trained to the end."""
    config = write_config(folder / 'morn.py')
    work_dir = folder / 'run'
    process = start_tool('train.py', config, '--work-dir', work_dir)
    _wait_for(work_dir / 'last_checkpoint', process)
    process.kill()
    process.communicate()
    assert (work_dir / 'epoch_1.pth').exists()
    output = run_tool('train.py', config, '--work-dir', work_dir, '--resume')
    return config, work_dir / 'epoch_3.pth', output


def _wait_for(path, process):
    deadline = time.monotonic() + 200
    while not path.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)


def test_train_kill_resume(trained):
    _, checkpoint, output = trained
    assert 'resumed epoch: ' in output
    assert torch.load(checkpoint, weights_only=True)['meta']['epoch'] == 3


def test_test_prints_the_table_from_any_folder(trained, folder):
    config, checkpoint, _ = trained
    output = run_tool(
        'test.py',
        config,
        checkpoint,
        '--work-dir',
        folder / 'test',
        '--show-dir',
        folder / 'pictures',
        '--interval',
        20,
        cwd=folder,
    )
    table = output[output.index('Results on the test set') :].splitlines()
    assert table[1].split() == ['P_L', 'R_L', 'F1_L', 'P_I', 'R_I', 'F1_I', 'top-1']
    assert [line.split()[0] for line in table[2:4]] == ['CNN', 'Multi-order']
    assert table[4].startswith(' CNN, calibrated ')
    assert '-' not in table[2].split() + table[3].split()
    # the overview, and images 0 and 20
    assert len(list((folder / 'pictures').glob('*.png'))) == 1 + 2


def test_two_processes_give_the_figures_of_one(trained, folder):
    config, checkpoint, _ = trained
    figures = []
    for processes in (1, 2):
        out = folder / f'metrics_{processes}.json'
        run_tool(
            'test.py',
            config,
            checkpoint,
            '--work-dir',
            folder / 'figures',
            '--out',
            out,
            processes=processes,
        )
        figures.append(
            {key: value for key, value in json.loads(out.read_text()).items() if 'time' not in key}
        )

    assert figures[0] == figures[1]
    assert {'per-label/f1-score', 'cnn/per-image/f1-score', 'one-step/top-1'} <= set(figures[0])


def test_wrong_in_channels_says_the_right_number(folder):
    config = write_config(folder / 'wrong.py')
    process = start_tool(
        'train.py',
        config,
        '--work-dir',
        folder / 'wrong',
        '--cfg-options',
        'model.head.in_channels=99',
    )
    output, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert 'write head=dict(in_channels=64)' in output


def test_frozen_but_never_trained_cnn_is_refused(folder):
    config = write_config(folder / 'untrained.py', frozen=True)
    process = start_tool('train.py', config, '--work-dir', folder / 'untrained')
    output, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert 'Train the first stage and name its checkpoint' in output


SCORES_CONFIG = """
_base_ = ['{base}']
model = dict(head=dict(num_classes=41{head}))
train_dataloader = dict(batch_size=16, dataset=dict(data_root='{root}'))
val_dataloader = dict(dataset=dict(data_root='{root}', ann_file='scores_test.safetensors'))
test_dataloader = dict(dataset=dict(data_root='{root}', checkpoint='{checkpoint}'))
train_cfg = dict(max_epochs=3, val_interval=1)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=1, save_best=None, max_keep_ckpts=-1))
"""
SCORES_BASE = {
    'morn': ROOT / 'configs/morn/morn_scores_1xb32-50e_openclipart-mini.py',
    'cnn-rnn': ROOT / 'configs/cnn_rnn/cnn-rnn-frequent-first_scores_1xb32-50e_openclipart.py',
}


def write_scores_config(folder, kind, checkpoint):
    path = folder / f'{kind}_scores.py'
    path.write_text(
        SCORES_CONFIG.format(
            base=SCORES_BASE[kind], head=SMALL_HEAD[kind], root=folder, checkpoint=checkpoint
        )
    )
    return path


@pytest.fixture(scope='module')
def cached(trained, folder):
    """The scores of the trained model's CNN, and a config that trains a decoder on them."""
    _, checkpoint, _ = trained
    cnn = write_config(folder / 'cnn.py', 'cnn')

    run_tool(
        'extract_scores.py',
        cnn,
        checkpoint,
        folder / 'scores_{split}.safetensors',
        '--split',
        'train,test',
        '--work-dir',
        folder / 'extract',
    )
    return cnn, checkpoint, write_scores_config(folder, 'morn', checkpoint)


def test_one_start_writes_a_file_for_each_split(cached, folder):
    sizes = {}
    for split in ('train', 'test'):
        file = load_scores(folder / f'scores_{split}.safetensors')
        assert file.provenance['split'] == split
        sizes[split] = len(file.scores)
    assert sizes == dict(train=64, test=37)


@pytest.mark.parametrize(
    ('out', 'splits', 'expected'),
    [
        ('scores.safetensors', 'train,val', "several splits need '{split}' in OUT"),
        ('scores_{split}.safetensors', 'train,vla', "but got 'train,vla'"),
        ('scores.safetensors', '', 'expected train, val, test'),
    ],
)
def test_splits_without_a_file_each_are_refused(out, splits, expected, tmp_path):
    config = write_config(tmp_path / 'cnn.py', 'cnn')
    output = run_failing('extract_scores.py', config, 'none.pth', out, '--split', splits)
    assert expected in output


def test_two_processes_extract_the_file_of_one(cached, folder):
    cnn, checkpoint, _ = cached
    run_tool(
        'extract_scores.py',
        cnn,
        checkpoint,
        folder / 'twice.safetensors',
        '--split',
        'test',
        '--work-dir',
        folder / 'extract',
        processes=2,
    )
    one = load_scores(folder / 'scores_test.safetensors')
    two = load_scores(folder / 'twice.safetensors')
    assert one.annotations == two.annotations
    assert one.provenance == two.provenance
    assert len(one.scores) == 37
    assert abs(one.scores - two.scores).max() < 1e-6  # other batches, other rounding


def test_the_faster_network_has_the_weights_of_the_checkpoint(cached, folder, monkeypatch, capfd):
    """It is made once they are loaded, and runs from the first image on."""
    cnn, checkpoint, _ = cached
    made, out = [], folder / 'faster.safetensors'

    def make(model, data):
        weights = {name: value.clone() for name, value in model.backbone.state_dict().items()}
        made.append((weights, find_faster(model, data)))
        return made[0][1]

    monkeypatch.setattr(extracting, 'find_faster', make)
    run_in_process(
        monkeypatch,
        capfd,
        'extract_scores.py',
        *(cnn, checkpoint, out, '--split', 'test', '--work-dir', folder / 'extract'),
    )
    ((weights, faster),) = made
    kept = torch.load(checkpoint, weights_only=True)['state_dict']
    for name, value in weights.items():
        assert torch.equal(value, kept[f'backbone.{name}'])
    assert any(isinstance(module, FoldedConv) for module in faster.modules())
    assert faster.backbone._seen == len(load_scores(out).scores)


NAME_THREADS = """
import atexit, pathlib, runpy, sys
name = lambda: [path.read_text().strip() for path in pathlib.Path('/proc/self/task').glob('*/comm')]
atexit.register(lambda: print('Threads after the group was left:', name()))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
print('Threads before:', name())
"""


@pytest.mark.skipif(
    not Path('/proc/self/task').exists(), reason='the names of threads are read from /proc'
)
@pytest.mark.parametrize('tool', ['train.py', 'test.py', 'extract_scores.py'])
def test_no_thread_of_the_process_group_outlives_a_tool(tool, cached, folder, monkeypatch):
    """One that lets go of an exchanged tensor while the interpreter shuts down would abort the process."""
    cnn, checkpoint, _ = cached
    arguments = {
        'train.py': [folder / 'morn.py', '--cfg-options', 'train_cfg.max_epochs=1'],
        'test.py': [folder / 'morn.py', checkpoint],
        'extract_scores.py': [cnn, checkpoint, folder / 'once.safetensors'],
    }[tool]

    for name, value in dict(
        RANK='0', WORLD_SIZE='1', MASTER_ADDR='127.0.0.1', MASTER_PORT='0'
    ).items():
        monkeypatch.setenv(name, value)

    script = folder / 'name_threads.py'
    script.write_text(NAME_THREADS)
    output = run_tool(
        script,
        ROOT / 'tools' / tool,
        *arguments,
        '--work-dir',
        folder / f'threads_{tool[:-3]}',
        '--launcher',
        'pytorch',
    )
    before, after = (line.split(': ') for line in output.splitlines()[-2:])
    assert (before[0], after[0]) == ('Threads before', 'Threads after the group was left')
    assert 'gloo' in before[1]
    assert 'gloo' not in after[1]


@pytest.mark.parametrize(
    ('kind', 'loss'), [('morn', 'loss_multi_order'), ('cnn-rnn', 'loss_sequence')]
)
def test_scores_train_as_images_do_and_merge_back(kind, loss, cached, folder):
    _, checkpoint, _ = cached
    place = folder / kind
    place.mkdir()
    scores_config = write_scores_config(folder, kind, checkpoint)
    image_config = write_config(place / 'frozen.py', kind, frozen=True)
    rate = 'optim_wrapper.optimizer.lr=1e-3'
    # The same start for both: the CNN, and a decoder with random weights.
    decoder = MODELS.build(Config.fromfile(scores_config).model).state_dict()
    cnn = {
        name: value
        for name, value in torch.load(checkpoint, weights_only=True)['state_dict'].items()
        if not name.startswith('head.decoder.')
    }
    for name, weights in (('decoder', decoder), ('both', cnn | decoder)):
        torch.save(dict(state_dict=weights, meta={}), place / f'{name}.pth')

    run_tool(
        'train.py',
        image_config,
        '--work-dir',
        place / 'on_images',
        '--cfg-options',
        f'load_from={place / "both.pth"}',
        rate,
    )
    run_tool(
        'train.py',
        scores_config,
        '--work-dir',
        place / 'on_scores',
        '--cfg-options',
        f'load_from={place / "decoder.pth"}',
        rate,
    )
    curve = [
        [entry[loss] for entry in read_scalars(place / name)] for name in ('on_images', 'on_scores')
    ]
    assert len(curve[0]) == len(curve[1]) == 12  # 3 epochs of 4 batches
    assert curve[0][0] > 1.05 * curve[0][-1]  # it learns
    torch.testing.assert_close(*map(torch.tensor, curve), rtol=1e-5, atol=0)

    merged = place / 'merged.pth'
    predictions = {}
    run_tool(
        'model_converters/merge_decoder.py',
        checkpoint,
        place / 'on_scores' / 'epoch_3.pth',
        merged,
        '--config',
        image_config,
    )
    assert find_model(merged)[0].model.head.num_classes == 41, 'the config is in the checkpoint'

    for name, config, weights in (
        ('images', image_config, merged),
        ('scores', scores_config, place / 'on_scores' / 'epoch_3.pth'),
    ):
        out = place / f'{name}.pkl'
        run_tool('test.py', config, weights, '--work-dir', place / f'test_{name}', '--out', out)
        predictions[name] = mmengine.load(out)

    for images, scores in zip(*predictions.values(), strict=True):
        for field in ('step_labels', 'pred_label'):
            assert images[field].tolist() == scores[field].tolist()

        for field in ('pred_score', 'step_scores', 'cnn_score'):
            torch.testing.assert_close(images[field], scores[field], rtol=0, atol=1e-6)


def test_killed_and_resumed_on_scores_ends_the_same(cached, folder):
    _, _, config = cached
    options = (
        '--cfg-options',
        'train_cfg.max_epochs=60',
        'train_cfg.val_interval=60',
        'default_hooks.logger.interval=100',
    )
    run_tool('train.py', config, '--work-dir', folder / 'whole', *options)
    process = start_tool('train.py', config, '--work-dir', folder / 'killed', *options)
    _wait_for(folder / 'killed' / 'epoch_3.pth', process)
    process.kill()
    process.communicate()
    assert not (folder / 'killed' / 'epoch_60.pth').exists()
    run_tool('train.py', config, '--work-dir', folder / 'killed', '--resume', *options)
    whole, killed = (
        torch.load(folder / name / 'epoch_60.pth', weights_only=True)
        for name in ('whole', 'killed')
    )
    assert whole['state_dict'].keys() == killed['state_dict'].keys()
    assert all(
        torch.equal(value, killed['state_dict'][name])
        for name, value in whole['state_dict'].items()
    )


def test_merging_with_another_cnn_is_refused(cached, folder):
    _, _, scores_config = cached
    run_tool(
        'train.py',
        scores_config,
        '--work-dir',
        folder / 'other',
        '--cfg-options',
        'train_cfg.max_epochs=1',
    )
    process = start_tool(
        'model_converters/merge_decoder.py',
        folder / 'run' / 'epoch_1.pth',
        folder / 'other' / 'epoch_1.pth',
        folder / 'bad.pth',
    )
    output, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert 'the scores came from another checkpoint' in output
    assert not (folder / 'bad.pth').exists()
