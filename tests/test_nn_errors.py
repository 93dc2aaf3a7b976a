"""Modules refuse at construction what no input could make work, under their own names."""

from __future__ import annotations

import numpy as np
import pytest

import convolite
from convolite import functional, models, nn

pytestmark = pytest.mark.smoke

FLOATS, DOUBLES = (nn.Parameter(np.ones((2, 2), kind)) for kind in (np.float32, np.float64))
POOLING = [
    (lambda: nn.MaxPool2d(0), r"MaxPool2d: kernel_size must be positive, got \(0, 0\)"),
    (lambda: nn.MaxPool2d(2, 0), r"MaxPool2d: stride must be positive, got \(0, 0\)"),
    (lambda: nn.MaxPool2d(2, padding=-1), r"MaxPool2d: padding must not be negative, got \(-1, "),
    (lambda: nn.MaxPool2d(2, padding=2), "MaxPool2d: padding must be at most half the kernel"),
    (lambda: nn.MaxPool2d(2, dilation=0), r"MaxPool2d: dilation must be positive, got \(0, 0\)"),
    (
        lambda: nn.MaxPool2d(2, padding=2, dilation=2),
        "MaxPool2d: padding must be at most half of wh",
    ),
    (lambda: nn.AvgPool2d(-1), r"AvgPool2d: kernel_size must be positive, got \(-1, -1\)"),
    (lambda: nn.AvgPool2d(2, (1, 0)), r"AvgPool2d: stride must be positive, got \(1, 0\)"),
    (lambda: nn.AvgPool2d(3, padding=2), "AvgPool2d: padding must be at most half the kernel"),
    (lambda: nn.AvgPool2d(2, divisor_override=0), "AvgPool2d: divisor_override must not be zero"),
    (lambda: nn.AdaptiveAvgPool2d(-1), "AdaptiveAvgPool2d: output_size must not be negative"),
    (lambda: nn.AdaptiveAvgPool2d((1, 2, 3)), "AdaptiveAvgPool2d: output_size must be an int or a"),
]

VALUES = [
    *POOLING,
    (lambda: nn.BatchNorm2d(3, eps=-1), "BatchNorm2d: eps must not be negative, got -1"),
    (lambda: nn.BatchNorm1d(3, eps=np.inf), "BatchNorm1d: eps must be finite, got inf"),
    (lambda: nn.BatchNorm1d(2**31), "BatchNorm1d: num_features must be below 2\\^31"),
    (lambda: nn.Conv2d(2**31, 1, 1), "Conv2d: in_channels must be below 2\\^31, got 2147483648"),
    (lambda: nn.Conv2d(2, 2, 1, groups=0), "Conv2d: groups must be positive, got 0"),
    (lambda: nn.Conv2d(2, 2, 1, dilation=0), r"Conv2d: dilation must be positive, got \(0, 0\)"),
    (lambda: nn.Conv2d(2**24, 1, 2), "Conv2d: one filter must be below 2\\^25 \\(weight.shape = "),
    (lambda: nn.Linear(2**31, 2**31), "Linear: in_features must be below 2\\^31, got 2147483648"),
    (lambda: nn.Linear(2, 2**28), "Linear: out_features must be below 2\\^28, got 268435456"),
    (lambda: nn.Linear(0, 2), "Linear: in_features must be positive, got 0"),
    (lambda: nn.Linear(2, 2, device=""), "Linear: device must be one of 'cpu', got ''"),
    (lambda: nn.MSELoss(reduction="all"), "MSELoss: reduction must be one of 'none', 'mean', 'su"),
    (lambda: nn.NLLLoss(reduction="x"), "NLLLoss: reduction must be one of 'none', 'mean', 'sum'"),
    (
        lambda: nn.CrossEntropyLoss(label_smoothing=2),
        "CrossEntropyLoss: label_smoothing must be fr",
    ),
    (lambda: nn.CrossEntropyLoss([[1], [1, 2]]), "CrossEntropyLoss: weight must have rows of one"),
    (lambda: nn.init.uniform_(nn.Parameter(np.ones(2)), 1, 0), "uniform_: b must not be below a"),
    (lambda: nn.init.normal_(nn.Parameter(np.ones(2)), 0, -1), "normal_: std must not be negative"),
    (lambda: nn.init.uniform_(DOUBLES, -1.7e308, 1.7e308), "uniform_: b must fit float64, got 1.7"),
    (lambda: nn.init.uniform_(FLOATS, -1e300), "uniform_: a must fit float32, got -1e\\+300"),
    (lambda: nn.init.normal_(FLOATS, 0, 1e300), "normal_: std must fit float32, got 1e\\+300"),
    (lambda: nn.init.constant_(FLOATS, 1e300), "constant_: value must fit float32, got 1e\\+300"),
    (lambda: nn.init.xavier_uniform_(DOUBLES, 1.7e308), "xavier_uniform_: gain must fit float64"),
    (lambda: nn.init.xavier_normal_(FLOATS, 1e300), "xavier_normal_: gain must fit float32"),
    (lambda: nn.BatchNorm1d(3, eps=np.nan), "BatchNorm1d: eps must be finite, got nan"),
    (lambda: models.lenet5(0), "lenet5: num_classes must be positive, got 0"),
    (lambda: models.resnet18(in_channels=0), "resnet18: in_channels must be positive, got 0"),
    (lambda: models.resnet20(-1), "resnet20: num_classes must be positive, got -1"),
    (lambda: models.mobilenet_v2(10, -3), "mobilenet_v2: in_channels must be positive, got -3"),
]

TYPES = [
    (lambda: nn.AdaptiveAvgPool2d("a"), "AdaptiveAvgPool2d: output_size must be an int or a pair"),
    (lambda: nn.AvgPool2d(2, divisor_override=1.5), "AvgPool2d: divisor_override must be an int"),
    (lambda: nn.BatchNorm2d(3, momentum="a"), "BatchNorm2d: momentum must be a number, got 'a'"),
    (lambda: nn.BatchNorm2d(3, eps=None), "BatchNorm2d: eps must be a number, got None"),
    (lambda: nn.Flatten("a"), "Flatten: start_dim must be an int, got 'a'"),
    (lambda: nn.Flatten(1, None), "Flatten: end_dim must be an int, got None"),
    (lambda: nn.Softmax(1.5), "Softmax: dim must be an int, got 1.5"),
    (lambda: nn.LogSoftmax(None), "LogSoftmax: dim must be an int, got None"),
    (lambda: nn.CrossEntropyLoss("a"), "CrossEntropyLoss: weight must be real numbers, got 'a'"),
    (
        lambda: nn.CrossEntropyLoss(ignore_index=1.5),
        "CrossEntropyLoss: ignore_index must be an int",
    ),
    (lambda: nn.MSELoss(reduction=None), "MSELoss: reduction must be one of"),
    (lambda: nn.Parameter("a"), "Parameter: data must be real numbers, got 'a'"),
    (lambda: nn.ModuleList(5), "ModuleList: modules must be a sequence, got 5"),
    (lambda: nn.ModuleList().extend(None), "ModuleList: modules must be a sequence, got None"),
    (lambda: nn.Sequential(5), "Sequential: module 0 must be a Module, got 5"),
    (lambda: nn.Sequential(nn.ReLU())["a"], "Sequential: index must be an int, got 'a'"),
    (lambda: nn.Sequential(nn.ReLU()).__setitem__(0, 5), "Sequential: module 0 must be a Module"),
    (lambda: nn.ReLU().summary(None), "summary: input_shape must be a sequence, got None"),
    (lambda: nn.ReLU().summary("12"), "summary: input_shape must be a sequence, got '12'"),
    (lambda: convolite.explain(None, (1, 2)), "explain: module must be a Module, got None"),
    (lambda: nn.ReLU().register_buffer(5, None), "register_buffer: name must be a string, got 5"),
    (lambda: nn.ReLU().register_buffer("a", "b"), "register_buffer: value must be real numbers"),
    (lambda: nn.ReLU().register_forward_hook(5), "register_forward_hook: hook must be callable"),
    (lambda: nn.ReLU().add_module("a", 5), "add_module: module must be a Module or None, got 5"),
    (lambda: nn.ReLU().apply(None), "apply: function must be callable, got None"),
    (lambda: nn.ReLU().state_dict(5), "state_dict: prefix must be a string, got 5"),
    (lambda: nn.init.zeros_(None), "zeros_: tensor must be a Tensor, got None"),
    (lambda: nn.init.xavier_normal_(5), "xavier_normal_: tensor must be a Tensor, got 5"),
    (lambda: nn.init.calculate_gain("leaky_relu", "a"), "calculate_gain: param must be a number"),
    (lambda: models.sample_cnn("a"), "sample_cnn: num_classes must be an int, got 'a'"),
    (lambda: models.resnet18(1.5), "resnet18: num_classes must be an int, got 1.5"),
    (lambda: models.resnet20(10, None), "resnet20: in_channels must be an int, got None"),
    (lambda: models.mobilenet_v2("a"), "mobilenet_v2: num_classes must be an int, got 'a'"),
]


@pytest.mark.parametrize(("call", "text"), VALUES)
def test_values_that_cannot_work_are_refused(call, text):
    with pytest.raises(ValueError, match=f"^{text}"):
        call()


@pytest.mark.parametrize(("call", "text"), TYPES)
def test_other_types_are_refused(call, text):
    with pytest.raises(TypeError, match=f"^{text}"):
        call()


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: nn.Linear(2**28 - 1, 2**28 - 1), "Linear: weight of shape "),
        (lambda: nn.Conv2d(2**10, 2**31 - 1, 64), "Conv2d: weight of shape "),
    ],
)
def test_weights_without_room_are_named(call, text):
    with pytest.raises(MemoryError, match=f"^{text}.* does not fit into memory"):
        call()


def test_an_index_beyond_the_last_module_ends_a_loop():
    modules = nn.Sequential(nn.ReLU())
    with pytest.raises(IndexError, match=r"^Sequential: index 1 is out of range for 1 modules"):
        modules[1]
    assert modules[-1] is modules[0]


def test_none_in_an_output_size_keeps_that_side():
    images = np.ones((1, 2, 6, 5), np.float32)
    assert nn.AdaptiveAvgPool2d((None, 1))(images).shape == (1, 2, 6, 1)


def test_explain_tells_which_layers_others_apply():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.ReLU6())
    choices = {choice.layer: choice for choice in convolite.explain(model, (1, 8, 8)).choices}
    assert choices["1"].why == "applied by 0 while it writes its output"
    assert (choices["1"].method, choices["2"].why) == ("merged", "there is one method")
    model = nn.Sequential(nn.BatchNorm2d(1), nn.ReLU(), nn.MaxPool2d(2))
    choices = convolite.explain(model, (1, 8, 8)).choices
    found = [(choice.layer, choice.computation, choice.method) for choice in choices]
    pooling = [("2", "forward", "merged"), ("2", "backward", "direct")]
    assert found == [("0", "all", "direct"), ("1", "all", "merged"), *pooling]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("images", [1, 2, 40, 400])
def test_explain_says_whether_images_are_pooled_while_they_are_in_the_cache(dtype, images):
    model = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2))
    model = model.double() if dtype == np.float64 else model
    lines = convolite.explain(model, (images, 1, 28, 28)).choices
    choices = {(choice.layer, choice.computation): choice for choice in lines}
    per_task = 256 * 1024 // (32 * 26 * 26 * np.dtype(dtype).itemsize)
    if images >= 2 * per_task * convolite.get_num_threads():
        assert choices["2", "forward"].why == "applied by 0 while its output is in the cache"
        assert choices["2", "backward"].method == "direct"
    else:
        assert choices["2", "all"].why.startswith("behind 0, whose images are too large or too few")
    assert choices["1", "all"].why == "applied by 2 while it writes its output"


def test_explain_answers_for_the_dtype_of_the_layer():
    model = nn.Conv2d(32, 32, 3, padding=1)
    for dtype, method in (("float32", "winograd"), ("float64", "direct")):
        model = model.double() if dtype == "float64" else model
        chosen = [
            choice.method
            for choice in convolite.explain(model, (32, 16, 16)).choices
            if not choice.why.startswith("declined")
        ]
        assert chosen == [method] * 3, dtype
    names = {choice.method for choice in convolite.explain(model, (32, 16, 16)).choices}
    assert "winograd" not in names


def test_explain_tells_which_batch_norms_inference_folds():
    conv, norm = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)

    def folded(*modules):
        lines = convolite.explain(nn.Sequential(*modules), (1, 8, 8)).choices
        return {line.layer: line.why for line in lines if line.computation == "inference"}

    where = "in evaluation mode and where nothing needs a gradient"
    assert folded(conv, norm, nn.ReLU(), nn.BatchNorm2d(2)) == {"1": f"into 0, {where}"}
    assert folded(conv, nn.ReLU(), norm) == {}
    assert folded(conv, nn.BatchNorm2d(2, track_running_stats=False)) == {}
    convolite.set_fusion(False)
    try:
        assert folded(conv, norm) == {}
    finally:
        convolite.set_fusion(True)


def test_explain_counts_containers_without_modules():
    model = nn.Sequential(nn.Sequential(), nn.ReLU(), nn.Tanh())
    choices = {choice.layer: choice for choice in convolite.explain(model, (1, 8)).choices}
    assert choices["1"].why == "there is one method"


@pytest.mark.parametrize("options", [{"padding": 2}, {"padding": 3, "dilation": 2}])
def test_modules_and_functions_refuse_in_the_same_words(options):
    with pytest.raises(ValueError, match=r"^MaxPool2d: padding ") as early:
        nn.MaxPool2d(2, **options)
    with pytest.raises(ValueError, match=r"^max_pool2d: padding ") as late:
        convolite.functional.max_pool2d(np.ones((1, 1, 9, 9), np.float32), 2, **options)
    assert str(early.value).partition(": ")[2] == str(late.value).partition(": ")[2]


def test_initial_values_at_the_ends_of_a_dtype():
    assert np.isinf(nn.init.constant_(FLOATS, np.inf).numpy()).all()
    assert nn.init.kaiming_uniform_(DOUBLES, a=1e200).numpy().max() == 0.0


def test_a_class_without_forward_is_named():
    class Half(nn.Module):
        pass

    for module, name in ((Half(), "Half"), (nn.ModuleList(), "ModuleList")):
        with pytest.raises(NotImplementedError, match=f"^{name}: the class defines no forward$"):
            module(1)


def test_float_classes_are_told_how_to_become_integers():
    logits = np.zeros((2, 3), np.float32)
    hint = r"; convolite.tensor\(labels, dtype=np.int64\) makes integers$"
    with pytest.raises(ValueError, match=r"^cross_entropy: target must be integers .*" + hint):
        functional.cross_entropy(logits, convolite.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"\(input.shape = \(2, 3\)\)$"):
        functional.cross_entropy(logits, np.zeros((2, 4)))
