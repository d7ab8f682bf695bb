"""What is chosen for which images on which machine, and what is known of either."""

import math
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from tools_helpers import ROOT
from torch.utils.flop_counter import FlopCounterMode

from morn_plugin.apis.annotating import Hardware, Images, Plan, make_plan, recipe
from morn_plugin.apis.annotating.configs import (
    make_cnn_config,
    make_decoder_config,
    make_image_config,
)
from morn_plugin.apis.annotating.estimating import Estimate
from morn_plugin.apis.annotating.hardware import count_processors, find_hardware, find_memory
from morn_plugin.apis.annotating.images import UNKNOWN_EDGE, look_at
from morn_plugin.apis.annotating.planning import (
    CNN_TIME,
    COST,
    IMAGE_MEMORY,
    expect_cnn_time,
    find_backbones,
)

PAGE = ROOT / 'docs' / 'own_images.md'
LAPTOP = Hardware('cpu', processors=2, memory=8, seconds=0.02)
WORKSTATION = Hardware('cpu', processors=32, memory=128, seconds=0.002)
GPU = Hardware('cuda', processors=16, memory=24, seconds=0.0005)
PHOTOS = Images(6000, edge=1000)
BOTH = ('lite0', 'lite2')


def size_of(plan: Plan) -> tuple[str, int]:
    return plan.backbone, plan.image_size


def test_few_images_get_more_epochs() -> None:
    few, many = (make_plan(Images(number, edge=500), LAPTOP) for number in (200, 20_000))
    assert few.cnn_epochs > many.cnn_epochs
    assert few.decoder_epochs > many.decoder_epochs


def test_small_images_are_not_enlarged() -> None:
    assert make_plan(Images(500, edge=64), GPU).image_size == 64
    assert make_plan(Images(500, edge=100), GPU).image_size == 128  # to the next multiple of 32
    assert make_plan(Images(500, edge=20), GPU).image_size == 64


def test_a_faster_machine_gets_larger_images_and_then_a_larger_cnn() -> None:
    chosen = [size_of(make_plan(PHOTOS, machine, backbones=BOTH)) for machine in (LAPTOP, GPU)]
    assert chosen == [('lite0', 192), ('lite2', 224)]
    assert size_of(make_plan(PHOTOS, WORKSTATION, backbones=BOTH)) == ('lite2', 224)
    assert size_of(make_plan(PHOTOS, WORKSTATION)) == ('lite0', 224)
    small = make_plan(Images(500, edge=160), GPU, backbones=BOTH)
    assert size_of(small) == ('lite0', 160)


@pytest.mark.parametrize('seconds', [0.001, 0.01, 0.02, 0.05])
@pytest.mark.parametrize('number', [500, 3000, 20_000])
def test_the_choice_takes_half_an_hour_at_most_and_the_next_one_more(
    number: int, seconds: float
) -> None:
    images, machine = Images(number, edge=1000), replace(LAPTOP, seconds=seconds)
    plan = make_plan(images, machine, backbones=BOTH)
    time = expect_cnn_time(plan.backbone, plan.image_size, plan.cnn_epochs, images, machine)
    assert time <= CNN_TIME or plan.image_size == 64
    if plan.image_size < 224:
        larger = expect_cnn_time('lite0', plan.image_size + 32, plan.cnn_epochs, images, machine)
        assert larger > CNN_TIME


def test_the_expected_time_is_that_of_all_images_in_all_epochs() -> None:
    """lite2 costs 1.5 times as much, 256 px four times; two processors read an image in 0.08 s."""
    images = Images(100, edge=300, reading=0.08)
    expected = 3 * 100 * (0.02 * 1.5 * 4 + 0.08 / 2)
    assert expect_cnn_time('lite2', 256, 3, images, LAPTOP) == pytest.approx(expected)


def test_the_expected_time_is_told_with_its_parts() -> None:
    told = Estimate(cnn=31, scores=2, decoder=8, starting=42).describe()
    assert told == 'about 83 s (CNN 31 s, its scores 2 s, decoder 8 s, starting the steps 42 s)'


def test_photos_that_take_long_to_read_get_smaller() -> None:
    slow = replace(PHOTOS, reading=0.2)
    assert make_plan(slow, LAPTOP).image_size < make_plan(PHOTOS, LAPTOP).image_size
    assert make_plan(replace(PHOTOS, reading=0.01), GPU) == make_plan(PHOTOS, GPU)  # meanwhile


def test_less_memory_means_smaller_images_and_at_last_a_smaller_batch() -> None:
    chosen = []
    for memory in (0.25, 1, 2, 4, 8, 16):
        plan = make_plan(PHOTOS, replace(WORKSTATION, memory=memory), backbones=BOTH)
        image = IMAGE_MEMORY[plan.backbone] * (plan.image_size / 128) ** 2
        assert plan.batch_size * image <= memory / 2
        assert plan.batch_size == 32 or plan.image_size == 64
        chosen.append((plan.image_size, plan.backbone, plan.batch_size))
    assert chosen == sorted(chosen)
    assert (chosen[0], chosen[-1]) == ((64, 'lite0', 16), (224, 'lite2', 32))
    assert make_plan(Images(5, edge=64), GPU).batch_size == 2


def test_what_the_user_says_is_taken() -> None:
    plan = make_plan(PHOTOS, LAPTOP, image_size=320, cnn_epochs=3)
    assert (plan.image_size, plan.cnn_epochs) == (320, 3)


def test_the_first_model_is_small_on_any_machine() -> None:
    for machine in (LAPTOP, GPU):
        assert size_of(make_plan(PHOTOS, machine, quick=True, backbones=BOTH)) == ('lite0', 64)


def test_no_more_processes_read_than_there_are_processors() -> None:
    assert make_plan(PHOTOS, replace(GPU, processors=4)).num_workers == 4
    assert make_plan(PHOTOS, GPU).num_workers == 8
    assert make_plan(PHOTOS, WORKSTATION).num_workers == 2


@pytest.mark.parametrize('backbone', COST)
def test_cost_and_memory_are_those_of_the_network(backbone: str) -> None:
    """Multiplications as torch counts them; what is kept for the backward pass, and a fifth."""
    timm = pytest.importorskip('timm')
    counts, kept = {}, {}
    for name in {'lite0', backbone}:
        model = timm.create_model(f'tf_efficientnet_{name}', pretrained=False, num_classes=0)
        weights = {parameter.data_ptr() for parameter in model.parameters()}
        saved: dict[int, int] = {}

        def keep(tensor: torch.Tensor, saved: dict[int, int] = saved) -> torch.Tensor:
            storage = tensor.untyped_storage()
            saved[storage.data_ptr()] = storage.nbytes()
            return tensor

        with (
            torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
            FlopCounterMode(display=False) as counter,
        ):
            model.train()(torch.zeros(2, 3, 128, 128))
        counts[name] = counter.get_total_flops()
        kept[name] = sum(size for place, size in saved.items() if place not in weights) / 2

    assert counts[backbone] / counts['lite0'] == pytest.approx(COST[backbone], rel=0.01)
    assert 1.2 * kept[backbone] / 2**30 == pytest.approx(IMAGE_MEMORY[backbone], rel=0.1)


def test_the_machine_is_measured() -> None:
    machine = find_hardware()
    assert machine.device == ('cuda' if torch.cuda.is_available() else 'cpu')
    assert 0 < machine.seconds < math.inf
    assert machine.processors == len(os.sched_getaffinity(0)) == count_processors()
    assert f'{machine.processors} core' in machine.describe()


def test_a_container_limits_the_memory(tmp_path: Path) -> None:
    limit = tmp_path / 'memory.max'
    machine = find_memory('cpu', limit)
    assert machine == os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    limit.write_text('max\n')
    assert find_memory('cpu', limit) == machine
    limit.write_text(f'{2**30}\n')
    assert find_memory('cpu', limit) == 2**30


def test_images_are_looked_at(tmp_path: Path) -> None:
    for number, size in enumerate([(100, 400), (90, 160), (300, 300)]):
        Image.new('RGB', size).save(tmp_path / f'{number}.png')
    (tmp_path / 'broken.png').write_text('none')
    files = [path.name for path in tmp_path.iterdir()]
    found = look_at(tmp_path, files, number=2)
    assert (found.number, found.edge) == (2, 200)
    assert 0 < found.reading < 10

    unreadable = look_at(tmp_path, ['broken.png'], number=2)
    assert (unreadable.edge, unreadable.reading) == (UNKNOWN_EDGE, pytest.approx(0, abs=0.01))


def test_the_smallest_backbone_is_always_tried() -> None:
    assert 'lite0' in find_backbones()
    assert set(find_backbones()) <= set(COST)


def documented(row: str) -> list[str]:
    """Return the cells of a row of the recipe's table, without its title."""
    (line,) = [line for line in PAGE.read_text().splitlines() if line.startswith(f'| {row} |')]
    return [cell.strip() for cell in line.split('|')[2:-1]]


def spell(length: recipe.Length) -> str:
    return f'{length.steps}, in {length.fewest} to {length.most} epochs'


def test_the_page_has_the_recipe() -> None:
    assert documented('steps of 32 images') == [spell(recipe.CNN), spell(recipe.DECODER)]
    assert documented('with `--quick`') == [spell(recipe.QUICK_CNN), spell(recipe.QUICK_DECODER)]
    for cell, rate in zip(
        documented('optimiser'), (recipe.CNN_RATE, recipe.DECODER_RATE), strict=True
    ):
        assert f'learning rate {rate:g}' in cell
    eps, momentum = recipe.STATE_NORM['eps'], recipe.STATE_NORM['momentum']
    expected = f'batch norm, eps {eps:g}, momentum {momentum:g}'
    assert documented("before the LSTM's state") == ['', expected]
    assert recipe.BATCH == 32


def test_the_configs_follow_the_recipe(tmp_path: Path) -> None:
    plan = make_plan(Images(500, edge=64), LAPTOP)
    cnn = make_cnn_config(plan, tmp_path, tmp_path, tmp_path / 'weights.pth', 5, 500)
    decoder = make_decoder_config(plan, tmp_path, 5, 500)
    assert cnn.optim_wrapper.optimizer.lr == recipe.CNN_RATE
    assert decoder.optim_wrapper.optimizer.lr == recipe.DECODER_RATE
    assert decoder.model.head.state_norm == recipe.STATE_NORM
    assert decoder.default_hooks.checkpoint.save_best == 'calibrated/mean-f1'
    assert sum(metric.type == 'CalibratedF1' for metric in decoder.val_evaluator) == 2
    assert sum(metric.type == 'CalibratedF1' for metric in decoder.test_evaluator) == 1
    assert cnn.train_dataloader.batch_size == decoder.train_dataloader.batch_size == recipe.BATCH
    assert cnn.train_cfg.max_epochs == plan.cnn_epochs == 20
    assert decoder.train_cfg.max_epochs == plan.decoder_epochs == 60


def test_the_kept_model_has_the_cnn_of_the_first_stage(tmp_path: Path) -> None:
    """Frozen, with the decoder behind it; also a backbone that the user wrote into the config."""
    plan = make_plan(Images(500, edge=64), LAPTOP)
    cnn = make_cnn_config(plan, tmp_path, tmp_path, tmp_path / 'weights.pth', 5, 500)
    cnn.model.backbone.model_name = 'tf_efficientnet_lite1'
    decoder = make_decoder_config(plan, tmp_path, 5, 500)

    both = make_image_config(cnn, decoder, thr=0.3).model
    assert both.frozen == ('backbone', 'neck', 'head.fc')
    assert both.head == dict(decoder.model.head, in_channels=cnn.model.head.in_channels, thr=0.3)
    assert both.backbone == dict(type='TIMMBackbone', model_name='tf_efficientnet_lite1')
    assert both.channels_last

    alone = make_image_config(cnn, None, thr=0.2).model
    assert alone.head == dict(cnn.model.head, thr=0.2)
    assert 'frozen' not in alone
