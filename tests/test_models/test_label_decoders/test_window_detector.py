"""Windows of a map, and a detector that learns from image labels; test_spatial.py has the toy with places."""

import pytest
import torch
import torch.nn.functional as F

from morn_plugin.models.label_decoders.window_detector import WindowDetector, window_features

C, D = 3, 5


def test_windows_by_loops():
    torch.manual_seed(0)
    maps = torch.randn(2, D, 4, 5)
    expected = [
        maps[:, :, row : row + size, column : column + size].mean((2, 3))
        for size in (1, 3)
        for row in range(4 - size + 1)
        for column in range(5 - size + 1)
    ]
    torch.testing.assert_close(window_features(maps, (3, 1)), torch.stack(expected, dim=1))


def test_windows_are_no_larger_than_the_map():
    maps = torch.randn(2, D, 2, 3)
    assert torch.equal(window_features(maps, (1, 2, 3, 9)), window_features(maps, (1, 2)))


def test_detections_are_those_of_two_softmaxes():
    torch.manual_seed(0)
    decoder = WindowDetector(C, D, (1, 2), embed_dims=4).eval()
    maps = torch.randn(2, D, 3, 3)
    windows = decoder.embed(window_features(maps, (1, 2)))  # (N, 13, E)
    labels = decoder.classify(windows).exp()
    places = decoder.detect(windows).exp()
    expected = labels / labels.sum(2, keepdim=True) * places / places.sum(1, keepdim=True)
    torch.testing.assert_close(decoder.detections(maps), expected)
    scores = decoder.predict(maps)['pred_score']
    torch.testing.assert_close(scores, expected.sum(1))
    target = torch.tensor([[1.0, 0, 1], [0, 0, -1]])
    loss = F.binary_cross_entropy(scores, target.clamp(min=0), reduction='none')
    found = decoder.loss(feature_map=maps, target=target)['loss_detector']
    torch.testing.assert_close(found, loss[target >= 0].sum() / 2)


def test_it_finds_the_window():
    """Label c is a bright place in channel c: after training on image labels, it is detected at that place."""
    torch.manual_seed(0)
    decoder = WindowDetector(C, C, (1,), embed_dims=16)
    places = torch.randint(16, (256, C))
    target = (torch.rand(256, C) < 0.5).float()
    maps = 0.1 * torch.rand(256, C, 16)
    maps.scatter_add_(2, places[..., None], 3 * target[..., None])
    maps = maps.view(256, C, 4, 4)
    optimizer = torch.optim.Adam(decoder.parameters(), lr=1e-2)

    for batch in torch.arange(256).split(64) * 20:
        optimizer.zero_grad()
        decoder.loss(feature_map=maps[batch], target=target[batch])['loss_detector'].backward()
        optimizer.step()

    found = decoder.detections(maps).argmax(dim=1)  # (N, C), windows are places here
    assert (found == places)[target == 1].float().mean() > 0.9


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match='`window_sizes`, but got none'):
        WindowDetector(C, D, ())
    with pytest.raises(ValueError, match='`window_sizes` to be a positive integer, but got 0'):
        WindowDetector(C, D, (1, 0))
