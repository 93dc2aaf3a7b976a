"""The ready-made networks: shapes, sizes, names, and that they learn; merged steps, files, modes.

Names and shapes of the larger ones are torchvision's, listed here by rules of their own.
"""

from __future__ import annotations

import numpy as np
import pytest

import convolite
from convolite import functional as F
from convolite import models, nn, optim
from convolite.models.mobilenet import InvertedResidual
from convolite.models.resnet import BasicBlock
from support.compare import assert_exact, assert_same_bits
from support.errors import assert_error


@pytest.mark.parametrize(
    ("make", "parameters"),
    [
        (lambda: models.sample_cnn(), 225_034),
        (lambda: models.sample_cnn(batch_norm=True), 225_034 + 2 * (32 + 64)),
        (lambda: models.sample_cnn(num_classes=3, in_channels=2), 225_034 + 288 - 7 * 129),
        (lambda: models.lenet5(), 61_706),
        (lambda: models.resnet20(), 272_474),
        (lambda: models.resnet20(num_classes=3, in_channels=1), 272_474 - 7 * 65 - 2 * 16 * 9),
        (lambda: models.resnet18(), 11_689_512),
        (lambda: models.mobilenet_v2(), 3_504_872),
        (lambda: models.mobilenet_v2(num_classes=10), 3_504_872 - 990 * 1281),
    ],
)
def test_sizes(make, parameters):
    assert sum(parameter.size for parameter in make().parameters()) == parameters


@pytest.mark.parametrize("name", models.names())
@pytest.mark.parametrize("batch", [0, 1, 3])
def test_batches_of_any_size_give_logits(name, batch):
    model = models.create(name, num_classes=7, in_channels=2).eval()
    assert model(np.zeros((batch, 2, 28, 28), np.float32)).shape == (batch, 7)


def test_sample_cnn_has_the_documents_layers_in_order():
    kinds = [type(layer).__name__ for layer in models.sample_cnn(batch_norm=True)]
    block = ["Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d"]
    assert kinds == [*block, *block, "Flatten", "Linear", "ReLU", "Linear"]
    assert list(models.sample_cnn().state_dict()) == [
        f"{layer}.{kind}"
        for layer in ("conv1", "conv2", "linear1", "linear2")
        for kind in ("weight", "bias")
    ]


def test_equal_seeds_give_equal_weights():
    states = []
    for seed in (5, 5, 6):
        convolite.manual_seed(seed)
        states.append(models.sample_cnn().state_dict())
    assert all((states[0][name] == states[1][name]).all() for name in states[0])
    assert any((states[0][name] != states[2][name]).any() for name in states[0])


@pytest.mark.parametrize("name", models.names())
def test_a_few_steps_reduce_the_loss(name):
    convolite.manual_seed(0)
    rng = np.random.default_rng(0)
    images = rng.standard_normal((16, 1, 28, 28), dtype=np.float32)
    labels = rng.integers(0, 10, 16)
    model = models.create(name, in_channels=1)
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_unknown_names_are_refused():
    with pytest.raises(
        ValueError, match=r"create: name must be one of 'lenet5', .*, got 'alexnet'"
    ):
        models.create("alexnet")


def test_created_models_are_modules():
    assert all(isinstance(models.create(name), nn.Module) for name in models.names())


def conv(name, channels, in_channels, side):
    return [(f"{name}.weight", (channels, in_channels, side, side))]


def norm(name, channels):
    vectors = [(f"{name}.{key}", (channels,)) for key in ("weight", "bias")]
    vectors += [(f"{name}.running_{key}", (channels,)) for key in ("mean", "var")]
    return [*vectors, (f"{name}.num_batches_tracked", ())]


def linear(name, outputs, inputs):
    return [(f"{name}.weight", (outputs, inputs)), (f"{name}.bias", (outputs,))]


def resnet_listing(stem, channels, blocks, classes):
    listing = [*conv("conv1", channels[0], 3, stem), *norm("bn1", channels[0])]
    inside = channels[0]
    for stage, width in enumerate(channels, start=1):
        for block in range(blocks):
            name = f"layer{stage}.{block}"
            listing += conv(f"{name}.conv1", width, inside, 3) + norm(f"{name}.bn1", width)
            listing += conv(f"{name}.conv2", width, width, 3) + norm(f"{name}.bn2", width)
            if inside != width:
                listing += conv(f"{name}.downsample.0", width, inside, 1)
                listing += norm(f"{name}.downsample.1", width)
            inside = width
    return listing + linear("fc", classes, inside)


def mobilenet_listing():
    listing = conv("features.0.0", 32, 3, 3) + norm("features.0.1", 32)
    widths = [16] + 2 * [24] + 3 * [32] + 4 * [64] + 3 * [96] + 3 * [160] + [320]
    inside = 32
    for block, width in enumerate(widths, start=1):
        name, hidden, place = f"features.{block}.conv", 6 * inside, 1
        if block == 1:
            hidden, place = inside, 0
        else:
            listing += conv(f"{name}.0.0", hidden, inside, 1) + norm(f"{name}.0.1", hidden)
        listing += conv(f"{name}.{place}.0", hidden, 1, 3) + norm(f"{name}.{place}.1", hidden)
        listing += conv(f"{name}.{place + 1}", width, hidden, 1) + norm(
            f"{name}.{place + 2}", width
        )
        inside = width
    listing += conv("features.18.0", 1280, 320, 1) + norm("features.18.1", 1280)
    return listing + linear("classifier.1", 1000, 1280)


@pytest.mark.parametrize(
    ("make", "listing", "entries"),
    [
        (models.resnet20, resnet_listing(3, (16, 32, 64), 3, 10), 128),
        (models.resnet18, resnet_listing(7, (64, 128, 256, 512), 2, 1000), 122),
        (models.mobilenet_v2, mobilenet_listing(), 314),
    ],
)
def test_states_have_torchvisions_names_and_shapes(make, listing, entries):
    state = make().state_dict()
    assert len(state) == entries
    assert [(name, value.shape) for name, value in state.items()] == listing


@pytest.mark.parametrize("name", ["resnet20", "resnet18", "mobilenet_v2"])
def test_filters_keep_the_variance_of_gradients_at_first(name):
    for module in models.create(name).modules():
        if isinstance(module, nn.Conv2d) and module.weight.size > 5_000:
            fan_out = module.weight.shape[0] * np.prod(module.kernel_size)
            assert module.weight.numpy().std() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)


def test_mobilenets_classifier_begins_near_zero():
    linear = models.mobilenet_v2().classifier[1]
    assert linear.weight.numpy().std() == pytest.approx(0.01, rel=0.01)
    assert not linear.bias.numpy().any()


def test_one_step_lowers_the_loss():
    convolite.manual_seed(1)
    rng = np.random.default_rng(1)
    images = rng.standard_normal((8, 3, 32, 32), dtype=np.float32)
    labels = rng.integers(0, 10, 8)
    model = models.resnet20()
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    before = F.cross_entropy(model(images), labels)
    before.backward()
    optimizer.step()
    assert F.cross_entropy(model(images), labels).item() < 0.9 * before.item()


def assert_computes(block, formula, images, grad):
    """A block and its formula give the same outputs and gradients."""
    inputs = [convolite.tensor(images, requires_grad=True) for _ in range(2)]
    outputs = block(inputs[0]), formula(inputs[1])
    assert_exact(outputs[0].numpy(), outputs[1].numpy())
    for output in outputs:
        output.backward(grad)
    assert_exact(inputs[0].grad.numpy(), inputs[1].grad.numpy())


@pytest.mark.parametrize(("channels", "stride"), [(8, 1), (16, 1), (8, 2)])
def test_a_basic_block_adds_its_input_before_the_last_relu(channels, stride, rng):
    block = BasicBlock(8, channels, stride)

    def formula(input):
        shortcut = input
        if (channels, stride) != (8, 1):
            projection, scaling = block.downsample
            shortcut = scaling(projection(input))
        inner = F.relu(block.bn1(block.conv1(input)))
        return F.relu(block.bn2(block.conv2(inner)) + shortcut)

    images = rng.standard_normal((2, 8, 6, 6), dtype=np.float32)
    grad = rng.standard_normal((2, channels, 6 // stride, 6 // stride), dtype=np.float32)
    assert_computes(block, formula, images, grad)


@pytest.mark.parametrize(
    ("channels", "stride", "expansion"), [(8, 1, 6), (8, 1, 1), (12, 1, 2), (8, 2, 2)]
)
def test_an_inverted_residual_adds_its_input_where_shapes_agree(channels, stride, expansion, rng):
    block = InvertedResidual(8, channels, stride, expansion)

    def formula(input):
        inner = input
        *widening, projection, scaling = block.conv
        for convolution, normalization, _ in widening:
            inner = F.relu6(normalization(convolution(inner)))
        output = scaling(projection(inner))
        return input + output if (channels, stride) == (8, 1) else output

    images = rng.standard_normal((2, 8, 6, 6), dtype=np.float32)
    grad = rng.standard_normal((2, channels, 6 // stride, 6 // stride), dtype=np.float32)
    assert_computes(block, formula, images, grad)


LARGER = ["resnet20", "resnet18", "mobilenet_v2"]


def trained_a_little(name):
    """A model whose batch norms have seen two batches, and images."""
    convolite.manual_seed(2)
    model = models.create(name, num_classes=10)
    images = np.random.default_rng(2).standard_normal((4, 3, 32, 32), dtype=np.float32)
    for _ in range(2):
        model(images)
    return model, images


@pytest.mark.parametrize("name", LARGER)
def test_a_saved_model_gives_the_same_logits(name, tmp_path):
    model, images = trained_a_little(name)
    convolite.save(model, tmp_path / "model.safetensors")
    other = models.create(name, num_classes=10)
    other.load_state_dict(convolite.load(tmp_path / "model.safetensors"))
    assert_same_bits(other.eval()(images).numpy(), model.eval()(images).numpy())


@pytest.mark.parametrize("name", LARGER)
def test_inference_changes_nothing_and_repeats(name):
    model, images = trained_a_little(name)
    model.eval()
    state = {key: value.copy() for key, value in model.state_dict().items()}
    assert_same_bits(model(images).numpy(), model(images).numpy())
    assert all((state[key] == value).all() for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", LARGER)
def test_merged_and_single_steps_agree_exactly(name):
    """A hook on every layer keeps neighbours apart."""
    model, images = trained_a_little(name)
    model.eval()
    merged = model(images).numpy()
    seen = []
    for layer_name, layer in model.named_modules():
        layer.register_forward_hook(lambda *_, name=layer_name: seen.append(name))
    assert_exact(model(images).numpy(), merged)
    assert set(seen) == {name for name, _ in model.named_modules()}


def trained_once(name, fused):
    """Logits, gradients and running statistics of one step."""
    convolite.manual_seed(4)
    model = models.create(name, num_classes=10, in_channels=3)
    images = np.random.default_rng(3).standard_normal((4, 3, 28, 28), dtype=np.float32)
    convolite.set_fusion(fused)
    try:
        logits = model(images)
        F.cross_entropy(logits, np.arange(4)).backward()
    finally:
        convolite.set_fusion(True)
    return [logits.numpy(), *(each.grad.numpy() for each in model.parameters()), *model.buffers()]


@pytest.mark.parametrize("name", ["sample_cnn", *LARGER])
def test_training_without_fusion_gives_the_same_bits(name):
    for fused, single in zip(trained_once(name, True), trained_once(name, False), strict=True):
        assert_same_bits(np.asarray(fused), np.asarray(single))


def test_without_fusion_every_layer_runs_by_itself():
    convolite.set_fusion(False)
    try:
        methods = [c.method for c in convolite.explain(models.sample_cnn(), (1, 1, 28, 28)).choices]
        assert "merged" not in methods
        assert convolite.get_fusion() is False
    finally:
        convolite.set_fusion(True)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("name", ["resnet20", "mobilenet_v2"])
def test_shortcuts_are_added_in_the_batch_norm_only_with_fusion(name, fused, monkeypatch):
    residuals = []

    def batch_norm(*arguments, original=F.batch_norm):
        residuals.append(arguments[-1])
        return original(*arguments)

    monkeypatch.setattr(F, "batch_norm", batch_norm)
    trained_once(name, fused)
    merged = [residual for residual in residuals if residual is not None]
    assert len(merged) == ({"resnet20": 9, "mobilenet_v2": 10}[name] if fused else 0)


def test_a_forward_of_a_layers_own_is_not_merged_away():
    images = np.random.default_rng(5).standard_normal((2, 3, 8, 8), dtype=np.float32)
    layers = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2)]
    block = InvertedResidual(3, 3, 1, 2)
    for replaced in (layers[1], layers[2], block.conv):
        replaced.forward = lambda input: input * -2.0
        one_by_one = images
        for layer in layers:
            one_by_one = layer(one_by_one)
        assert_same_bits(nn.Sequential(*layers)(images).numpy(), one_by_one.numpy())
        if replaced is block.conv:
            assert_same_bits(block(convolite.tensor(images)).numpy(), images + images * -2.0)
        del replaced.forward


@pytest.mark.parametrize("value", [0, None, "yes"])
def test_only_a_bool_turns_fusion_on_or_off(value):
    assert_error(
        lambda: convolite.set_fusion(value),
        TypeError,
        f"set_fusion: on must be a bool, got {value!r}",
    )
    assert convolite.get_fusion() is True


@pytest.mark.parametrize("name", LARGER)
def test_explain_shows_every_activation_merged_into_its_batch_norm(name):
    choices = convolite.explain(models.create(name), (1, 3, 32, 32)).choices
    activations = [choice for choice in choices if choice.kind in ("ReLU", "ReLU6")]
    assert len(activations) == {"resnet20": 19, "resnet18": 17, "mobilenet_v2": 35}[name]
    assert {choice.method for choice in activations} == {"merged"}


def test_a_block_runs_the_layers_that_a_user_exchanges(rng):
    images = rng.standard_normal((2, 8, 6, 6), dtype=np.float32)
    for name, layer in (("relu", nn.LeakyReLU(0.5)), ("bn2", nn.Identity()), ("relu", nn.ReLU6())):
        block = BasicBlock(8, 8)
        setattr(block, name, layer)
        inner = block.conv2(block.relu(block.bn1(block.conv1(images))))
        expected = block.relu(block.bn2(inner) + convolite.tensor(images))
        assert_exact(block(images).numpy(), expected.numpy())


@pytest.mark.parametrize(
    "exchange",
    [
        lambda block: vars(block.conv[-1]).update(forward=lambda input: input * 2.0),
        lambda block: setattr(block, "conv", nn.Sequential()),
        lambda block: setattr(block, "conv", nn.Sequential(nn.Conv2d(8, 8, 1), nn.Identity())),
        lambda block: block.double(),
    ],
    ids=["a forward of its own", "nothing", "no batch norm", "float64"],
)
def test_an_inverted_block_runs_the_layers_that_it_holds(exchange, rng):
    images = rng.standard_normal((2, 8, 6, 6), dtype=np.float32)
    block = InvertedResidual(8, 8, 1, 2).eval()
    exchange(block)
    images = images.astype(next((each.dtype for each in block.parameters()), images.dtype))
    expected = block.conv(images) + images
    assert_exact(np.asarray(block(images)), np.asarray(expected))


def test_a_layer_that_a_user_exchanges_is_run():
    model = models.resnet18(num_classes=2)
    model.maxpool = nn.Identity()
    model.conv1 = nn.Conv2d(1, 64, 3, padding=1)
    rows = model.summary((1, 16, 16)).rows
    assert (rows[0].name, rows[0].output_shape) == ("conv1", (1, 64, 16, 16))
    assert [row.output_shape for row in rows if row.name == "maxpool"] == [(1, 64, 16, 16)]
