"""Records ten training steps of the sample network, computed by `convolite.reference` alone.

Run `python tests/record_trajectory.py` to write data/sample_cnn_trajectory.json anew; the losses
change only if the formulas do.  test_trajectory.py replays the same steps through the library.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from convolite import reference

PATH = Path(__file__).parent / "data" / "sample_cnn_trajectory.json"
SEED = 1998
BATCH = 8
STEPS = 10
LEARNING_RATE = 0.001
MOMENTUM = 0.9

# conv1, conv2, fc1, fc2: weight and bias of each, in the order of the network.
SHAPES = (
    (32, 1, 3, 3),
    (32,),
    (64, 32, 3, 3),
    (64,),
    (128, 1600),
    (128,),
    (10, 128),
    (10,),
)


def make_parameters(seed: int = SEED) -> list[np.ndarray]:
    """Weights of variance 2 / fan_in (He et al. 2015), small biases; float32 holds them exactly."""
    rng = np.random.Generator(np.random.PCG64(seed))
    parameters = []
    for shape in SHAPES:
        scale = 0.1 if len(shape) == 1 else np.sqrt(2.0 / np.prod(shape[1:]))
        values = scale * rng.standard_normal(shape)
        parameters.append(values.astype(np.float32).astype(np.float64))
    return parameters


def make_batch(seed: int = SEED + 1) -> tuple[np.ndarray, np.ndarray]:
    """Images (BATCH, 1, 28, 28) of noise, exact in float32, and labels (BATCH,)."""
    rng = np.random.Generator(np.random.PCG64(seed))
    images = rng.standard_normal((BATCH, 1, 28, 28)).astype(np.float32).astype(np.float64)
    return images, rng.integers(0, 10, BATCH)


def loss_and_gradients(
    parameters: list[np.ndarray], images: np.ndarray, labels: np.ndarray
) -> tuple[float, list[np.ndarray]]:
    """Mean cross-entropy of the network on one batch and its gradient for every parameter."""
    conv1, bias1, conv2, bias2, fc1, bias3, fc2, bias4 = parameters
    pool = {"kernel": (2, 2), "stride": (2, 2)}

    before1 = reference.conv2d(images, conv1, bias1)
    pooled1, chosen1 = reference.max_pool2d(reference.activation("relu", before1), **pool)
    before2 = reference.conv2d(pooled1, conv2, bias2)
    pooled2, chosen2 = reference.max_pool2d(reference.activation("relu", before2), **pool)
    flat = pooled2.reshape(len(images), -1)
    before3 = reference.linear(flat, fc1, bias3)
    hidden = reference.activation("relu", before3)
    logits = reference.linear(hidden, fc2, bias4)
    loss = float(reference.cross_entropy(logits, labels))

    grad_logits = reference.cross_entropy_backward(1.0, logits, labels)
    grad_hidden = reference.linear_backward_input(grad_logits, fc2)
    grad_before3 = reference.activation_backward("relu", grad_hidden, before3)
    grad_flat = reference.linear_backward_input(grad_before3, fc1)
    grad_pooled2 = grad_flat.reshape(pooled2.shape)
    grad_relu2 = reference.max_pool2d_backward(grad_pooled2, chosen2, before2.shape, **pool)
    grad_before2 = reference.activation_backward("relu", grad_relu2, before2)
    grad_pooled1 = reference.conv2d_backward_input(grad_before2, conv2, pooled1.shape)
    grad_relu1 = reference.max_pool2d_backward(grad_pooled1, chosen1, before1.shape, **pool)
    grad_before1 = reference.activation_backward("relu", grad_relu1, before1)
    return loss, [
        reference.conv2d_backward_weight(grad_before1, images, conv1.shape),
        reference.conv2d_backward_bias(grad_before1),
        reference.conv2d_backward_weight(grad_before2, pooled1, conv2.shape),
        reference.conv2d_backward_bias(grad_before2),
        reference.linear_backward_weight(grad_before3, flat),
        reference.linear_backward_bias(grad_before3),
        reference.linear_backward_weight(grad_logits, hidden),
        reference.linear_backward_bias(grad_logits),
    ]


def compute_losses(steps: int = STEPS) -> list[float]:
    """The loss before each step, and the one after the last."""
    parameters, (images, labels) = make_parameters(), make_batch()
    buffers: list[np.ndarray | None] = [None] * len(parameters)
    losses = []
    for _ in range(steps):
        loss, gradients = loss_and_gradients(parameters, images, labels)
        losses.append(loss)
        for i, gradient in enumerate(gradients):
            parameters[i], buffers[i] = reference.sgd_step(
                parameters[i], gradient, buffers[i], LEARNING_RATE, MOMENTUM
            )
    losses.append(loss_and_gradients(parameters, images, labels)[0])
    return losses


def main() -> None:
    """Write the file."""
    record = {
        "seed": SEED,
        "batch": BATCH,
        "learning_rate": LEARNING_RATE,
        "momentum": MOMENTUM,
        "losses": compute_losses(),
    }
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
