"""benchmarks/counting.py: what a step must compute and move, against counts by hand."""

from __future__ import annotations

import counting
import numpy as np
import pytest

import convolite
from convolite import functional, nn

N, C, K, SIDE = 2, 32, 48, 10
PIXELS = SIDE * SIDE


def counted(model: nn.Module, images: np.ndarray) -> list[counting.Pass]:
    parameters = sum(each.size for each in model.parameters())
    with counting.recorded() as calls:
        model(convolite.tensor(images))
    return counting.count(calls, parameters)


def rows(passes: list[counting.Pass]) -> dict[tuple[str, str], counting.Pass]:
    found = {(each.kind, each.name): each for each in passes}
    assert len(found) == len(passes)
    return found


def images(channels: int = C) -> np.ndarray:
    return np.zeros((N, channels, SIDE, SIDE), np.float32)


def test_a_convolution_is_three_passes_and_winograd_counts_whole_tiles():
    model = nn.Sequential(nn.Conv2d(3, C, 1), nn.Conv2d(C, K, 3, padding=1))
    passes = [each for each in counted(model, images(3)) if each.method == "winograd"]
    weights = C * K * 9 + K
    size = 4 * (N * (C + K) * PIXELS + weights)
    for each in passes:
        assert each.definition == N * PIXELS * C * K * 9
        assert each.needed == N * 3 * 3 * 36 * C * K  # ten pixels are three tiles
        assert each.bytes == size
    names = {"forward", "backward_input", "backward_weight"}
    assert {each.name for each in passes} == names


def test_images_have_no_gradient_and_other_methods_need_every_product():
    found = rows(counted(nn.Conv2d(3, 8, 3, stride=2, bias=False), images(3)))
    assert set(found) == {("Conv2d", "forward"), ("Conv2d", "backward_weight"), ("SGD", "update")}
    forward = found["Conv2d", "forward"]
    assert forward.needed == forward.definition == N * 8 * 4 * 4 * 27
    assert found["SGD", "update"].bytes == 5 * 4 * 8 * 27


def test_relu_and_pooling_ride_on_the_convolution():
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.ReLU(), nn.MaxPool2d(2))
    found = rows(counted(model, images(3)))
    read, pooled, weights = N * 3 * PIXELS, N * 8 * PIXELS // 4, 8 * 27
    assert found["Conv2d", "forward"].bytes == 4 * (read + pooled + weights) + pooled
    # The gradient of the pooled pixels, their signs, and where each was.
    backward = 4 * (read + 2 * pooled + weights) + pooled
    assert found["Conv2d", "backward_weight"].bytes == backward


def test_a_residual_block_ends_in_one_pass():
    conv, norm = nn.Conv2d(C, C, 1, bias=False), nn.BatchNorm2d(C)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.conv, self.norm = nn.Conv2d(3, C, 1, bias=False), conv, norm

        def forward(self, input):
            entering = self.first(input)
            return functional.relu(self.norm(self.conv(entering)) + entering)

    passes = counted(Block(), images(3))
    found = rows([each for each in passes if each.kind != "Conv2d"])
    size = 4 * N * C * PIXELS
    parameters = 4 * 2 * C
    assert found["BatchNorm", "forward"].bytes == 3 * size + parameters
    assert found["BatchNorm", "sums of the gradient"].bytes == size
    # Reads the gradient, the output's sign and the input; writes two gradients.
    assert found["BatchNorm", "backward_input"].bytes == 5 * size
    assert found["Add", "gradients that meet"].bytes == size
    assert not any(kind == "Activation" for kind, _ in found)


def test_a_linear_layer_and_the_loss():
    model = nn.Linear(20, 10)
    with counting.recorded() as calls:
        functional.cross_entropy(model(convolite.tensor(np.zeros((4, 20), np.float32))), [1] * 4)
    found = rows(counting.count(calls, 210))
    assert found["Linear", "forward"].needed == 4 * 20 * 10
    assert found["Linear", "backward_weight"].bytes == 4 * (4 * 20 + 4 * 10 + 210)
    assert found["CrossEntropy", "forward"].bytes == 4 * 2 * 40


def test_recording_leaves_everything_as_it_was():
    before = convolite.get_fusion()
    with counting.recorded() as calls:
        convolite.tensor(np.ones(3, np.float32)).exp()
    with pytest.raises(SystemExit, match="no rule for Exponential"):
        counting.count(calls, 0)
    assert convolite.get_fusion() is before
    numbers = convolite.tensor(np.ones(3, np.float32), requires_grad=True)
    numbers.sum().backward()
    assert numbers.grad.tolist() == [1, 1, 1]
    assert len(calls) == 1
