"""The benchmark of methods on tiny scores: what it trains, that it goes on where it was stopped, and what it writes."""

import csv
import importlib
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from helpers import samples_of
from mmengine.config import Config

from morn_plugin.datasets.annotations import Annotations
from morn_plugin.datasets.cached.file import ScoreFile, load_scores, save_scores
from morn_plugin.evaluation.metrics import PerImageF1, PerLabelF1, TopOneAccuracy

ROOT = Path(__file__).parents[1]
NUM_CLASSES = 72


@pytest.fixture(scope='module')
def tools():
    """The modules of tools/benchmark, as its script imports them."""
    sys.path.insert(0, str(ROOT / 'tools' / 'benchmark'))
    try:
        names = ('plan', 'runs', 'page', 'stages')
        yield type('Tools', (), {name: importlib.import_module(name) for name in names})
    finally:
        sys.path.pop(0)
        for name in names:
            sys.modules.pop(name, None)


def make_scores(folder, seed=0):
    """Scores that show the truth but for noise."""
    rng = np.random.default_rng(seed)
    for side, number in (('train', 40), ('val', 24), ('test', 30)):
        labels = [
            sorted(rng.choice(NUM_CLASSES, size=rng.integers(0, 4), replace=False).tolist())
            for _ in range(number)
        ]
        annotations = Annotations(
            [f'label {k:02}' for k in range(NUM_CLASSES)],
            [dict(img_path=f'{side}_{i}.png', gt_label=row) for i, row in enumerate(labels)],
        )
        scores = 0.4 * rng.random((number, NUM_CLASSES)) + 0.5 * (annotations.targets() > 0)
        folder.mkdir(parents=True, exist_ok=True)
        save_scores(
            folder / f'scores_{side}.safetensors', ScoreFile(scores.astype(np.float32), annotations)
        )


@pytest.fixture(scope='module')
def bench(tools, tmp_path_factory):
    bench = tools.runs.Bench(tmp_path_factory.mktemp('benchmark'), '', cnn_lr=0.1, epochs=1)
    make_scores(bench.score_folder('full', 0))
    return bench


def test_plan_is_whole(tools):
    plan = tools.plan
    assert len(plan.BY_NAME) == len(plan.VARIANTS)
    for variant in plan.VARIANTS:
        assert (ROOT / 'configs' / variant.config).is_file()
        assert variant.tuned_as is None or plan.BY_NAME[variant.tuned_as].tuned_as is None
        assert variant.base is None or plan.BY_NAME[variant.base].base is None
        assert variant.seeds >= (5 if variant.group == 'methods' else 3)
        if variant.base and not variant.joint:
            assert variant.seeds <= plan.BY_NAME[variant.base].seeds
    methods = [variant for variant in plan.VARIANTS if variant.group == 'methods']
    assert len(methods) == 5
    assert all(variant.tuned_as is None for variant in methods)
    assert {len(variant.learning_rates) for variant in methods} == {5}  # the same search for each


@pytest.mark.parametrize('name', ['multi-order', 'frequent-first'])
def test_a_run_is_done_once(tools, bench, name):
    run = tools.runs.Run(name, 1e-3, 0)
    tools.runs.train_decoder(bench, run)
    folder = bench.folder(run)
    record = tools.runs.read_record(folder)
    assert set(record['validation']) == {'f1_image', 'f1_label', 'epoch'}
    part = tools.page.load_predictions(folder)
    assert (
        part['test_score'].shape
        == part['test_label'].shape
        == part['test_first'].shape
        == (30, NUM_CLASSES)
    )
    assert part['val_target'].shape == (24, NUM_CLASSES)
    before = (folder / 'run.json').stat().st_mtime_ns
    tools.runs.train_decoder(bench, run)
    assert (folder / 'run.json').stat().st_mtime_ns == before


def test_what_was_stopped_is_begun_anew(tools, bench, monkeypatch):
    run = tools.runs.Run('mask-none', 1e-3, 0)
    folder = bench.folder(run)

    def stop(cfg):
        (folder / 'best_half.pth').write_bytes(b'half')
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tools.runs.Runner, 'from_cfg', stop)
        with pytest.raises(KeyboardInterrupt):
            tools.runs.train_decoder(bench, run)
    assert (folder / 'best_half.pth').is_file()
    tools.runs.train_decoder(bench, run)
    assert json.loads((folder / 'settings.json').read_text())['model.head.loss.mask'] == 'none'
    assert not list(folder.glob('*.pth')), 'no other run starts from this one'


def test_other_settings_are_refused(tools, bench):
    run = tools.runs.Run('multi-order', 1e-3, 0)
    tools.runs.train_decoder(bench, run)
    other = tools.runs.Bench(bench.out, '', cnn_lr=0.1, epochs=2)
    message = r'settings.json: .*other settings: .*expected train_cfg.max_epochs=2, but got 1.*Remove the f'
    with pytest.raises(ValueError, match=message):
        tools.runs.train_decoder(other, run)


def test_a_checkpoint_used_otherwise(tools, bench):
    base = tools.runs.Run('multi-order', 1e-3, 0)
    tools.runs.train_decoder(bench, base)
    run = tools.runs.Run('pooling-last', 1e-3, 0)
    tools.runs.train_decoder(bench, run, base)
    pooled, last = (tools.page.load_predictions(bench.folder(item)) for item in (base, run))
    np.testing.assert_array_equal(pooled['test_first'], last['test_first'])
    assert (last['test_score'] <= pooled['test_score']).all()
    assert (last['test_score'] < pooled['test_score']).any()


def write_validation(tools, bench, figures):
    for lr, value in figures.items():
        folder = bench.folder(tools.runs.Run('rare-first', lr, 0))
        folder.mkdir(parents=True)
        tools.runs.write_record(folder, 1.0, validation=dict(f1_image=value))


def test_learning_rate_is_the_best_on_validation(tools, tmp_path):
    bench = tools.runs.Bench(tmp_path, '')
    write_validation(tools, bench, {1e-4: 50.0, 3e-4: 52.0, 1e-3: 51.0, 3e-3: 49.0, 1e-2: 48.0})
    assert tools.stages.best_rate(bench, tools.plan.BY_NAME['rare-first']) == 3e-4


def test_the_whole_on_images_of_the_slice(tools, tmp_path, monkeypatch):
    """CNN, scores, decoder and both together, by the real configs on a few small images; then all of it once more."""
    slice_folder = str(ROOT / 'tests' / 'data' / 'openclipart_mini') + '/'
    on_slice = {'model.head.num_classes': 41, 'train_cfg.max_epochs': 1}
    on_images = on_slice | {'model.backbone.init_cfg': None}
    for side, number in (('train', 32), ('val', 8), ('test', 9)):
        on_images |= {
            f'{side}_dataloader.dataset.data_root': slice_folder,
            f'{side}_dataloader.dataset.indices': number,
            f'{side}_dataloader.num_workers': 0,
            f'{side}_dataloader.persistent_workers': False,
            f'{side}_dataloader.batch_size': 8,
        }
    bench = tools.runs.Bench(
        tmp_path,
        str(ROOT / 'configs' / tools.plan.CNN_CONFIG),
        cnn_lr=1e-3,
        options=tuple(on_slice.items()),
        cnn_options=tuple(on_images.items()),
        epochs=1,
        max_seeds=1,
    )
    base, joint = tools.runs.Run('rare-first', 1e-3, 0), tools.runs.Run('sr-cnn-rnn', 1e-5, 0)

    def run_all():
        tools.runs.train_cnn(bench, 1e-3, 0)
        tools.runs.cache_scores(bench, 0, 'full')
        tools.runs.cache_scores(bench, 0, 'incomplete')
        tools.runs.train_decoder(bench, base)
        tools.runs.train_joint(bench, joint, base)
        return {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*') if path.is_file()}

    before = run_all()
    part = tools.page.load_predictions(bench.folder(joint))
    assert part['test_score'].shape == (9, 41)
    assert part['val_path'].shape[0] == 8
    row = tools.page.make_row('sr-cnn-rnn', '', [part], False, 1e-5)
    np.testing.assert_allclose(row.habits['labels'], part['test_label'].sum(1).mean())
    assert run_all() == before, 'what is done is left alone'
    monkeypatch.setattr(tools.runs, 'sha256', lambda path: 'another')
    with pytest.raises(ValueError, match=r'scores/full/seed_0/settings.json: .*cnn_sha256'):
        tools.runs.cache_scores(bench, 0, 'full')


def test_files_of_unknown_settings_are_refused(tools, tmp_path):
    (tmp_path / 'run.json').write_text('{}')
    with pytest.raises(ValueError, match=r'holds files but no settings\.json'):
        tools.runs.check_done(tmp_path, dict(lr=1))


def test_a_missing_run_is_named(tools, tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r'rare-first/lr_0\.0001/seed_0: this run is not done'
    ):
        tools.stages.best_rate(tools.runs.Bench(tmp_path, ''), tools.plan.BY_NAME['rare-first'])


def test_dropped_labels(tools, bench):
    file = load_scores(bench.score_folder('full', 0) / 'scores_train.safetensors')
    before = [set(item['gt_label']) for item in file.annotations.data_list]
    after = [
        set(item['gt_label']) for item in tools.runs.drop_labels(file, 0.5, 0).annotations.data_list
    ]
    assert all(new <= old for new, old in zip(after, before, strict=True))
    share = sum(map(len, after)) / sum(map(len, before))
    assert 0.3 < share < 0.7


def random_predictions(seed):
    rng = np.random.default_rng(seed)
    part = {}
    for side, number in (('val', 20), ('test', 25)):
        target = (rng.random((number, 6)) < 0.3).astype(np.int8)
        score = (0.5 * rng.random((number, 6)) + 0.3 * target).astype(np.float32)
        part |= {
            f'{side}_{key}': value
            for key, value in dict(
                score=score, first=score, label=score > 0.5, target=target
            ).items()
        }
    return part


def test_columns_are_those_of_the_metrics(tools):
    part = random_predictions(0)
    samples = samples_of(
        torch.tensor(part['test_target']),
        pred_score=torch.tensor(part['test_score']),
        step_scores=torch.tensor(part['test_first'])[:, None],
    )
    expected = []
    three = ('precision', 'recall', 'f1-score')
    for metric, keys in (
        (PerLabelF1(), three),
        (PerImageF1(), three),
        (TopOneAccuracy(), ('top-1',)),
    ):
        metric.process(None, samples)
        figures = metric.evaluate(25)
        expected += [
            next(value for name, value in figures.items() if name.endswith('/' + key))
            for key in keys
        ]
    assert tools.page.paper_columns(part['test_label'], part) == pytest.approx(expected)


def test_threshold_is_chosen_on_validation(tools):
    parts = [random_predictions(seed) for seed in range(3)]
    row = tools.page.make_row('x', 'X', parts, True, 1e-3)
    tampered = [part | dict(test_target=1 - part['test_target']) for part in parts]
    np.testing.assert_array_equal(
        tools.page.make_row('x', 'X', tampered, True, 1e-3).thresholds, row.thresholds
    )
    assert tools.page.make_row('x', 'X', parts, False, 1e-3).calibrated is None


def test_figures_of_the_first_step(tools):
    part = random_predictions(0)
    row = tools.page.make_row(
        'x', 'X', [part | dict(test_first=1 - part['test_target'])], True, 1e-3
    )
    assert row.habits['first F1_L'] == row.habits['first F1_I'] == 0  # whatever all steps say
    right = part | dict(test_first=part['test_target'], test_label=~part['test_label'])
    row = tools.page.make_row('x', 'X', [right], True, 1e-3)
    assert row.habits['first F1_L'] == 100
    assert np.isnan(tools.page.make_row('x', 'X', [part], False, 1e-3).habits['first F1_L']).all()


def test_paired_test_is_students(tools):
    rows = [
        tools.page.make_row(
            'x', 'X', [random_predictions(seed + offset) for seed in range(5)], False, 1e-3
        )
        for offset in (0, 10)
    ]
    difference = rows[0].figures[:, 2] - rows[1].figures[:, 2]
    t = difference.mean() / (difference.std(ddof=1) / math.sqrt(5))
    # the two-sided p-value of Student's t with 4 degrees of freedom in closed form
    x = t / math.sqrt(4 + t * t)
    expected = 1 - abs(x) * (1 + (1 - x * x) / 2)
    assert tools.page.paired_test(rows[0].figures, rows[1].figures, 2) == pytest.approx(expected)
    assert tools.page.paired_test(rows[0].figures, rows[0].figures, 2) == 1.0


def test_page_is_written_between_its_markers(tools):
    text = 'before <!-- begin a --> old <!-- end a --> after'
    assert (
        tools.page.replace_section(text, 'a', 'new')
        == 'before <!-- begin a -->\nnew\n<!-- end a --> after'
    )
    with pytest.raises(ValueError, match='<!-- begin b --> and <!-- end b --> once'):
        tools.page.replace_section(text, 'b', 'new')


def test_figures_are_read_back_as_they_were_written(tools, tmp_path):
    parts = [random_predictions(seed) for seed in range(3)]
    rows = {
        name: tools.page.make_row(name, tools.plan.BY_NAME[name].title, parts, has_threshold, 1e-3)
        for name, has_threshold in (('multi-order', True), ('rare-first', False))
    }
    tools.page.write_csv(rows, tmp_path / 'results.csv')
    found = tools.page.read_csv(tmp_path / 'results.csv')
    assert found.keys() == rows.keys()
    for name, row in rows.items():
        assert (found[name].title, found[name].lr) == (row.title, row.lr)
        for field in ('figures', 'calibrated', 'thresholds'):
            value, wanted = getattr(found[name], field), getattr(row, field)
            assert (value is None) == (wanted is None)
            if wanted is not None:
                np.testing.assert_allclose(value, wanted, atol=1e-6)


def test_repository_page_follows_from_its_csv(tools):
    folder = ROOT / 'configs' / 'benchmark'
    rows = tools.page.read_csv(folder / 'results.csv')
    page = (folder / 'README.md').read_text(encoding='utf-8')
    for variant in tools.plan.VARIANTS:
        assert len(rows[variant.name].figures) == variant.seeds
    earlier = tools.page.read_csv(folder / tools.page.EARLIER)
    for name, table in tools.page.tables(rows, earlier).items():
        assert tools.page.replace_section(page, name, table) == page, name


MEASURED = {  # the configs that train as a run of the benchmark did
    'cnn/cnn_efficientnet-lite0_1xb32-6e_openclipart-128px': 'cnn',
    'morn/morn_efficientnet-lite0_1xb32-50e_openclipart-128px': 'paper-schedule',
    'morn/morn_scores_1xb32-50e_openclipart': 'paper-schedule',
    'morn/morn-bn_efficientnet-lite0_1xb32-15e_openclipart-128px': 'release-norm',
    'morn/morn-bn_scores_1xb32-15e_openclipart': 'release-norm',
    'morn/morn-joint_efficientnet-lite0_1xb32-1e_openclipart-128px': 'joint',
    'sr_cnn_rnn/sr-cnn-rnn_efficientnet-lite0_1xb32-1e_openclipart-128px': 'sr-cnn-rnn',
}


@pytest.mark.parametrize('path', MEASURED, ids=lambda path: path.split('/')[1])
def test_figures_beside_a_config_are_those_of_the_benchmark(tools, path):
    folder, name = path.split('/')
    row = tools.page.read_csv(ROOT / 'configs' / 'benchmark' / 'results.csv')[MEASURED[path]]
    assert Config.fromfile(ROOT / 'configs' / f'{path}.py').optim_wrapper.optimizer.lr == row.lr
    means = [f'{value:.2f}' for value in row.figures.mean(axis=0)]
    index = yaml.safe_load((ROOT / 'configs' / folder / 'metafile.yml').read_text())
    (entry,) = (entry for entry in index['Models'] if entry['Name'] == name)
    assert [f'{value:.2f}' for value in entry['Results'][0]['Metrics'].values()] == means
    readme = (ROOT / 'configs' / folder / 'README.md').read_text()
    (line,) = (
        line for line in readme.splitlines() if f'({name}.py)' in line and '| ours |' in line
    )
    found = [cell.strip() for cell in line.split('| ours |')[1].strip(' |').split('|')]
    assert found == means[: len(found)]


def test_better_variant_is_offered_as_it_was_measured(tools):
    plan = tools.plan
    offered = Config.fromfile(ROOT / 'configs/morn/morn-bn_scores_1xb32-15e_openclipart.py')
    with open(ROOT / 'configs/benchmark/results.csv', newline='') as file:
        rates = {float(row['lr']) for row in csv.DictReader(file) if row['variant'] == plan.BETTER}
    measured = Config.fromfile(ROOT / 'configs' / plan.MORN)
    measured.merge_from_dict(
        {
            **plan.BY_NAME[plan.BETTER].options,
            'train_cfg.max_epochs': plan.EPOCHS,
            'optim_wrapper.optimizer.lr': rates.pop(),
        }
    )
    assert not rates
    assert offered.to_dict() == measured.to_dict()
    on_images = Config.fromfile(
        ROOT / 'configs/morn/morn-bn_efficientnet-lite0_1xb32-15e_openclipart-128px.py'
    )
    for part in ('optim_wrapper', 'train_cfg'):
        assert on_images[part] == offered[part]
    assert on_images.model.head.state_norm == offered.model.head.state_norm
