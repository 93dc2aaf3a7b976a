"""Modules: registration, state, modes, containers with fused activations, summary, explain."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import convolite
from convolite import functional as F
from convolite import nn
from support.compare import assert_close, assert_exact

pytestmark = pytest.mark.smoke


class Block(nn.Module):
    """A module with a child, a parameter of its own and a buffer."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(np.ones(3, np.float32))
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(3), nn.BatchNorm2d(3)])
        self.register_buffer("steps", np.zeros(1))
        self.register_buffer("scratch", np.zeros(2), persistent=False)

    def forward(self, input):
        for norm in self.norms:
            input = norm(self.conv(input))
        return input * self.scale.reshape(3, 1, 1)


def test_names_come_in_pytorchs_order():
    block = Block()
    assert [name for name, _ in block.named_parameters()] == [
        "scale",
        "conv.weight",
        "conv.bias",
        "norms.0.weight",
        "norms.0.bias",
        "norms.1.weight",
        "norms.1.bias",
    ]
    running = ["running_mean", "running_var", "num_batches_tracked"]
    assert [name for name, _ in block.named_buffers()] == [
        "steps",
        "scratch",
        *(f"norms.{i}.{name}" for i in range(2) for name in running),
    ]
    assert [name for name, _ in block.named_modules()] == [
        "",
        "conv",
        "norms",
        "norms.0",
        "norms.1",
    ]
    assert [name for name, _ in block.named_children()] == ["conv", "norms"]
    assert list(block.state_dict()) == [
        "scale",
        "steps",
        "conv.weight",
        "conv.bias",
        *(f"norms.{i}.{name}" for i in range(2) for name in ["weight", "bias", *running]),
    ]


def test_state_dict_shares_memory():
    block = Block()
    state = block.state_dict()
    assert all(type(value) is np.ndarray for value in state.values())
    state["conv.weight"][...] = 4.0
    state["norms.0.running_mean"][...] = 5.0
    assert (block.conv.weight.numpy() == 4.0).all()
    assert (block.norms[0].running_mean.numpy() == 5.0).all()


def test_a_shared_parameter_is_listed_once_and_saved_under_both_names():
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    model = nn.Sequential(first, second, first)
    assert [name for name, _ in model.named_parameters()] == ["0.weight", "0.bias", "1.bias"]
    assert {"0.weight", "1.weight", "2.weight"} <= set(model.state_dict())
    assert len(list(model.modules())) == 3


def test_load_state_dict_copies_any_array_like_and_keeps_the_dtype():
    block = Block()
    state = {
        name: np.asarray(value, np.float64) + 1.0 for name, value in block.state_dict().items()
    }
    state["scale"] = [1.0, 2.0, 3.0]
    state["conv.bias"] = convolite.tensor([4.0, 5.0, 6.0], requires_grad=True)
    weight = block.conv.weight
    assert block.load_state_dict(state) == ([], [])
    assert block.conv.weight is weight
    assert weight.dtype == np.float32
    assert block.scale.tolist() == [1.0, 2.0, 3.0]
    assert block.conv.bias.tolist() == [4.0, 5.0, 6.0]
    assert block.norms[1].num_batches_tracked.item() == 1
    state["conv.weight"][...] = -1.0
    assert (weight.numpy() != -1.0).all()


def test_load_state_dict_names_every_problem_and_changes_nothing():
    block = Block()
    before = {name: value.copy() for name, value in block.state_dict().items()}
    state = {name: value + 1 for name, value in before.items()}
    del state["conv.bias"]
    state["extra"] = np.zeros(1)
    state["scale"] = np.zeros(4)
    with pytest.raises(ValueError, match="load_state_dict: the state does not fit Block") as info:
        block.load_state_dict(state)
    text = str(info.value)
    assert 'Missing key(s) in state_dict: "conv.bias"' in text
    assert 'Unexpected key(s) in state_dict: "extra"' in text
    assert "size mismatch for scale: the state has shape (4,), the module has shape (3,)" in text
    for name, value in block.state_dict().items():
        assert_exact(value, before[name])


def test_load_state_dict_without_strict_reports_names_but_still_checks_shapes():
    layer = nn.Linear(2, 2)
    result = layer.load_state_dict({"weight": np.ones((2, 2)), "other": np.ones(1)}, strict=False)
    assert result.missing_keys == ["bias"]
    assert result.unexpected_keys == ["other"]
    assert (layer.weight.numpy() == 1).all()
    with pytest.raises(ValueError, match="size mismatch for weight"):
        layer.load_state_dict({"weight": np.ones(3)}, strict=False)


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ([1, 2], "load_state_dict: state must map names to arrays, got list"),
        ({"weight": "text", "bias": np.zeros(2)}, "load_state_dict: weight must be real num"),
    ],
)
def test_load_state_dict_refuses_other_things(state, text):
    with pytest.raises(TypeError, match=text):
        nn.Linear(2, 2).load_state_dict(state)


def test_train_and_eval_reach_every_module():
    block = Block()
    assert block.training
    assert block.eval() is block
    assert not any(module.training for module in block.modules())
    block.train()
    assert all(module.training for module in block.modules())


def test_zero_grad_requires_grad_and_apply():
    block = Block()
    block(np.ones((2, 3, 4, 4), np.float32)).sum().backward()
    assert all(parameter.grad is not None for parameter in block.parameters())
    block.zero_grad()
    assert all(parameter.grad is None for parameter in block.parameters())
    block.requires_grad_(False)
    assert not any(parameter.requires_grad for parameter in block.parameters())
    visited = []
    block.apply(visited.append)
    assert visited[-1] is block
    assert len(visited) == 5


def test_double_and_float_convert_parameters_and_statistics():
    block = Block().double()
    assert {parameter.dtype for parameter in block.parameters()} == {np.dtype(np.float64)}
    assert block.norms[0].running_var.dtype == np.float64
    assert block.norms[0].num_batches_tracked.dtype == np.int64
    assert block(np.ones((2, 3, 4, 4))).dtype == np.float64
    weight = block.conv.weight
    assert block.float().conv.weight is weight
    assert weight.dtype == np.float32


def test_hooks_see_and_may_replace_outputs_until_removed():
    layer = nn.Identity()
    seen = []
    handle = layer.register_forward_hook(lambda module, inputs, output: seen.append(inputs))
    doubling = layer.register_forward_hook(lambda module, inputs, output: output * 2)
    assert layer(np.ones(1, np.float32)).item() == 2.0
    handle.remove()
    doubling.remove()
    handle.remove()
    assert layer(np.ones(1, np.float32)).item() == 1.0
    assert len(seen) == 1


def test_deepcopy_is_independent():
    block = Block()
    duplicate = copy.deepcopy(block)
    duplicate.conv.weight.numpy()[...] = 0.0
    assert (block.conv.weight.numpy() != 0.0).any()
    assert isinstance(duplicate.conv.weight, nn.Parameter)


def test_parameters_share_good_arrays_and_copy_others():
    array = np.ones((2, 3), np.float32)
    assert nn.Parameter(array).numpy() is array
    transposed = nn.Parameter(array.T)
    assert transposed.numpy().flags.c_contiguous
    assert not np.shares_memory(transposed.numpy(), array)
    assert nn.Parameter(np.ones(2, ">f4")).dtype.isnative
    assert repr(nn.Parameter([1.0])) == "Parameter(tensor([1.], requires_grad=True))"


def test_layers_start_as_in_pytorch():
    convolite.manual_seed(0)
    conv = nn.Conv2d(8, 64, 3)
    bound = 1 / np.sqrt(8 * 9)
    for values in (conv.weight.numpy(), conv.bias.numpy()):
        assert np.abs(values).max() <= bound
        assert np.abs(values).max() > 0.9 * bound
    norm = nn.BatchNorm2d(4)
    assert (norm.weight.numpy() == 1).all()
    assert (norm.bias.numpy() == 0).all()
    assert nn.Linear(3, 2, bias=False).bias is None
    assert nn.Conv2d(1, 1, 1, dtype=np.float64).weight.dtype == np.float64


@pytest.mark.parametrize(
    ("fill", "deviation"),
    [
        (lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"), np.sqrt(2 / 450)),
        (lambda w: nn.init.kaiming_normal_(w, mode="fan_out"), np.sqrt(2 / 900)),
        (lambda w: nn.init.kaiming_uniform_(w, a=np.sqrt(5)), np.sqrt(1 / 3 / 450)),
        (lambda w: nn.init.xavier_normal_(w), np.sqrt(2 / 1350)),
        (lambda w: nn.init.xavier_uniform_(w, gain=2.0), 2 * np.sqrt(2 / 1350)),
        (lambda w: nn.init.normal_(w, 0.0, 3.0), 3.0),
        (lambda w: nn.init.uniform_(w, -1.0, 1.0), 1 / np.sqrt(3)),
        (lambda w: nn.init.zeros_(w), 0.0),
        (lambda w: nn.init.ones_(w), 0.0),
    ],
)
def test_initial_values_have_the_deviation_of_their_formula(fill, deviation):
    convolite.manual_seed(1)
    weight = convolite.tensor(np.full((100, 50, 3, 3), np.nan))
    assert fill(weight) is weight
    assert abs(weight.numpy().std() - deviation) <= 0.02 * deviation


def test_initialisation_refuses_wrong_arguments():
    with pytest.raises(ValueError, match="xavier_normal_: tensor must have at least 2 axes"):
        nn.init.xavier_normal_(convolite.tensor([1.0]))
    with pytest.raises(ValueError, match="kaiming_uniform_: mode must be one of"):
        nn.init.kaiming_uniform_(convolite.tensor([[1.0]]), mode="fan")
    with pytest.raises(ValueError, match="calculate_gain: nonlinearity must be one of"):
        nn.init.calculate_gain("sine")


MODULES = [
    (nn.ReLU(), lambda x: F.relu(x)),
    (nn.ReLU(inplace=True), lambda x: F.relu(x)),
    (nn.LeakyReLU(0.2), lambda x: F.leaky_relu(x, 0.2)),
    (nn.ReLU6(), lambda x: F.relu6(x)),
    (nn.ELU(0.5), lambda x: F.elu(x, 0.5)),
    (nn.GELU(), lambda x: F.gelu(x)),
    (nn.GELU("tanh"), lambda x: F.gelu(x, "tanh")),
    (nn.SiLU(), lambda x: F.silu(x)),
    (nn.Hardswish(), lambda x: F.hardswish(x)),
    (nn.Hardsigmoid(), lambda x: F.hardsigmoid(x)),
    (nn.Sigmoid(), lambda x: F.sigmoid(x)),
    (nn.Tanh(), lambda x: F.tanh(x)),
    (nn.Softmax(1), lambda x: F.softmax(x, 1)),
    (nn.LogSoftmax(1), lambda x: F.log_softmax(x, 1)),
    (nn.MaxPool2d(3, 2, 1), lambda x: F.max_pool2d(x, 3, 2, 1)),
    (nn.MaxPool2d(2, ceil_mode=True), lambda x: F.max_pool2d(x, 2, ceil_mode=True)),
    (
        nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    ),
    (nn.AdaptiveAvgPool2d(2), lambda x: F.adaptive_avg_pool2d(x, 2)),
    (nn.AdaptiveAvgPool2d((None, 1)), lambda x: F.adaptive_avg_pool2d(x, (None, 1))),
    (nn.Flatten(), lambda x: F.flatten(x, 1)),
    (nn.Flatten(2, 3), lambda x: F.flatten(x, 2, 3)),
    (nn.Identity("anything"), lambda x: x),
]


@pytest.mark.parametrize(("module", "function"), MODULES, ids=lambda m: type(m).__name__)
def test_modules_call_their_functions(module, function, rng):
    input = convolite.Tensor((4 * rng.standard_normal((2, 3, 5, 5))).astype(np.float32))
    assert_exact(module(input).numpy(), function(input).numpy())


def test_losses_call_their_functions(rng):
    logits = convolite.Tensor(rng.standard_normal((4, 3)))
    target = np.array([0, 2, 1, -100])
    weight = np.array([0.5, 1.0, 2.0])
    loss = nn.CrossEntropyLoss(weight, label_smoothing=0.1, reduction="sum")
    expected = F.cross_entropy(logits, target, weight, label_smoothing=0.1, reduction="sum")
    assert_exact(loss(logits, target).numpy(), expected.numpy())
    assert list(loss.state_dict()) == ["weight"]
    assert list(nn.CrossEntropyLoss().state_dict()) == []
    log_probabilities = F.log_softmax(logits, 1)
    assert_exact(
        nn.NLLLoss(weight)(log_probabilities, target).numpy(),
        F.nll_loss(log_probabilities, target, weight).numpy(),
    )
    other = rng.standard_normal((4, 3))
    assert_exact(
        nn.MSELoss(reduction="sum")(logits, other).numpy(),
        F.mse_loss(logits, other, reduction="sum").numpy(),
    )


def test_dropout_modules_act_in_training_only():
    for module in (nn.Dropout(0.5), nn.Dropout2d(0.5)):
        input = convolite.tensor(np.ones((2, 50, 3, 3)))
        assert (module(input).numpy() == 0).any()
        assert module.eval()(input) is input


def test_batch_norm_tracks_statistics(rng):
    batches = [rng.standard_normal((8, 3, 4, 4)) for _ in range(3)]
    mean, var = np.zeros(3), np.ones(3)
    norm = nn.BatchNorm2d(3, momentum=0.25).double()
    average = nn.BatchNorm2d(3, momentum=None).double()
    for batch in batches:
        norm(batch)
        average(batch)
        mean = 0.75 * mean + 0.25 * batch.mean(axis=(0, 2, 3))
        var = 0.75 * var + 0.25 * batch.var(axis=(0, 2, 3), ddof=1)
    assert norm.num_batches_tracked.item() == 3
    assert_close(norm.running_mean.numpy(), mean, 1.0)
    assert_close(norm.running_var.numpy(), var, 2.0)
    means = np.mean([batch.mean(axis=(0, 2, 3)) for batch in batches], axis=0)
    assert_close(average.running_mean.numpy(), means, 1.0)
    output = norm.eval()(batches[0]).numpy()
    expected = (batches[0] - mean[:, None, None]) / np.sqrt(var + 1e-5)[:, None, None]
    assert_close(output, expected, np.abs(expected) + 4.0, units=16.0)
    assert norm.num_batches_tracked.item() == 3
    norm.reset_parameters()
    assert norm.num_batches_tracked.item() == 0
    assert (norm.running_mean.numpy() == 0).all()


def test_batch_norm_without_tracking_uses_the_batch_always(rng):
    batch = rng.standard_normal((8, 3)).astype(np.float32)
    norm = nn.BatchNorm1d(3, affine=False, track_running_stats=False)
    assert list(norm.state_dict()) == []
    assert_exact(norm(batch).numpy(), norm.eval()(batch).numpy())


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: nn.Conv2d(3, 4, 0), ValueError, r"Conv2d: kernel_size must be positive, got \(0,"),
        (lambda: nn.Conv2d(0, 4, 1), ValueError, "Conv2d: in_channels must be positive, got 0"),
        (
            lambda: nn.Conv2d(3, 4, 1, groups=2),
            ValueError,
            r"Conv2d: in_channels must be divisible by groups \(in_channels = 3, groups = 2\)",
        ),
        (
            lambda: nn.Conv2d(2, 3, 1, groups=2),
            ValueError,
            "Conv2d: out_channels must be divisible",
        ),
        (
            lambda: nn.Conv2d(3, 4, 3, padding=-1),
            ValueError,
            "Conv2d: padding must not be negative",
        ),
        (lambda: nn.Conv2d(3, 4, 3, padding="big"), ValueError, "Conv2d: padding must be an int"),
        (lambda: nn.Conv2d(3, 4, 1.5), TypeError, "Conv2d: kernel_size must be an int or a pair"),
        (lambda: nn.Conv2d(3.0, 4, 1), TypeError, "Conv2d: in_channels must be an int, got 3.0"),
        (
            lambda: nn.Conv2d(3, 4, 1, padding_mode="reflect"),
            ValueError,
            "padding_mode must be one",
        ),
        (
            lambda: nn.Conv2d(3, 4, 1, device="cuda"),
            ValueError,
            "Conv2d: device must be one of 'cpu'",
        ),
        (
            lambda: nn.Conv2d(3, 4, 1, dtype=np.float16),
            TypeError,
            "dtype must be float32 or float64",
        ),
        (lambda: nn.Linear(0, 1), ValueError, "Linear: in_features must be positive, got 0"),
        (lambda: nn.Linear(1, True), TypeError, "Linear: out_features must be an int, got True"),
        (lambda: nn.BatchNorm2d(0), ValueError, "BatchNorm2d: num_features must be positive"),
        (
            lambda: nn.BatchNorm2d(2)(np.ones((2, 2))),
            ValueError,
            r"BatchNorm2d: input must be \(N, C, H, W\), got input.shape = \(2, 2\)",
        ),
        (
            lambda: nn.BatchNorm1d(2)(np.ones((2, 2, 1, 1))),
            ValueError,
            "BatchNorm1d: input must be",
        ),
        (lambda: nn.Dropout(1.5), ValueError, r"Dropout: p must be within \[0, 1\], got 1.5"),
        (lambda: nn.MaxPool2d(2, return_indices=True), ValueError, "return_indices must be False"),
        (lambda: nn.AvgPool2d("a"), TypeError, "AvgPool2d: kernel_size must be an int or a pair"),
        (lambda: nn.GELU("fast"), ValueError, "GELU: approximate must be one of 'none', 'tanh'"),
        (lambda: nn.LeakyReLU("a"), TypeError, "LeakyReLU: negative_slope must be a number"),
        (lambda: nn.ELU(None), TypeError, "ELU: alpha must be a number, got None"),
        (lambda: nn.Linear(2, 2).summary((0, 2)), ValueError, "summary: input_shape must hold pos"),
        (lambda: nn.Linear(2, 2).summary((1.5,)), TypeError, "summary: input_shape must be an int"),
    ],
)
def test_wrong_calls_say_what_is_wrong(call, error, text):
    with pytest.raises(error, match=text):
        call()


def make_model():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 10)
    )


def test_summary_counts_parameters_multiply_adds_and_bytes():
    model = make_model()
    summary = model.summary((2, 1, 8, 8))
    rows = {row.name: row for row in summary.rows}
    assert [row.kind for row in summary.rows] == [
        "Conv2d",
        "BatchNorm2d",
        "ReLU",
        "Flatten",
        "Linear",
    ]
    assert rows["0"].output_shape == (2, 4, 6, 6)
    assert rows["0"].parameters == 40
    assert rows["0"].multiply_adds == 2 * 4 * 36 * 9
    assert rows["0"].activation_bytes == 2 * 4 * 36 * 4
    assert rows["4"].multiply_adds == 2 * 144 * 10
    assert summary.parameters == 40 + 8 + 1450
    assert summary.multiply_adds == 2592 + 2880
    assert model.training
    assert not model[0]._forward_hooks
    assert model[1].num_batches_tracked.item() == 0


def test_summary_prints_as_an_aligned_table():
    lines = str(make_model().summary((1, 8, 8))).splitlines()
    assert lines[0].split("  ")[0] == "layer"
    assert lines[2].startswith("0 (Conv2d)")
    assert "(1, 4, 6, 6)" in lines[2]
    assert lines[-1].startswith("total")
    assert lines[-1].split()[1] == "1,498"
    assert len({len(line) for line in lines}) == 1


def test_summary_takes_shapes_without_the_batch_axis():
    assert nn.Linear(3, 2).summary((3,)).rows[0].output_shape == (1, 2)
    assert nn.Linear(3, 2).summary((5, 3)).rows[0].output_shape == (5, 2)


def test_summary_restores_everything_after_an_error():
    model = make_model()
    with pytest.raises(ValueError, match="conv2d: "):
        model.summary((1, 3, 8, 8))
    assert model.training
    assert not model[0]._forward_hooks


def test_explain_names_the_method_of_each_pass():
    explanation = convolite.explain(make_model(), (2, 1, 8, 8))
    conv = [choice for choice in explanation.choices if choice.layer == "0"]
    ran = [choice for choice in conv if not choice.why.startswith("declined: ")]
    passes = ["forward", "backward_input", "backward_weight"]
    assert [choice.computation for choice in ran] == passes
    menu = ["winograd", "pointwise", "depthwise", "grouped", "narrow", "direct"]
    of_gradient = menu[: menu.index("narrow") + 1]  # of an input with one channel
    assert [choice.method for choice in conv] == menu + of_gradient + menu
    assert all(choice.method and choice.why for choice in explanation.choices)
    text = str(explanation)
    assert text.splitlines()[0].split() == ["layer", "kind", "pass", "method", "why"]
    assert conv[0].method in text
    methods = {choice.layer: choice.method for choice in explanation.choices}
    assert methods["2"] == "merged"
    assert (methods["3"], methods["4"]) == ("none", "gemm")
    assert "applied by 1" in text


def test_repr_is_pytorchs():
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, bias=False), nn.Sequential(nn.ReLU()))
    assert repr(model) == (
        "Sequential(\n"
        "  (0): Conv2d(1, 2, kernel_size=(3, 3), stride=(1, 1), padding=1, bias=False)\n"
        "  (1): Sequential(\n"
        "    (0): ReLU()\n"
        "  )\n"
        ")"
    )
    assert repr(nn.Linear(2, 3)) == "Linear(in_features=2, out_features=3, bias=True)"
    assert repr(nn.Conv2d(2, 2, (1, 2), 2, 0, (2, 1), 2)) == (
        "Conv2d(2, 2, kernel_size=(1, 2), stride=(2, 2), dilation=(2, 1), groups=2)"
    )
