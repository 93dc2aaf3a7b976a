"""What `convolite train --data mnist --target-accuracy` does, as a plain PyTorch program.

The recipe is `convolite.cli.recipe`'s: the same network and initial distributions, batches,
optimizer, schedule, shifts, normalisation and measurement of the test images after each epoch.
Batches are cut out of tensors in memory, which is faster than `torch.utils.data.DataLoader`, and
images are in channels_last, which is faster for this network. It writes no checkpoint.

    python benchmarks/torch_mnist.py --data-dir FOLDER --target-accuracy 0.99
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from torch_models import sample_cnn

BATCH, EVALUATION_BATCH = 64, 256
RATE, MOMENTUM, WEIGHT_DECAY = 0.05, 0.9, 5e-4
SHIFT, SIDE = 2, 28


def main() -> int:
    arguments = parse_arguments()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)
    training = read(arguments.data_dir, "train")
    test = read(arguments.data_dir, "t10k")
    pixels = training[0].float() / 255
    mean, std = pixels.mean().item(), pixels.std().item()
    test = normalized(test[0], mean, std), test[1]
    model = sample_cnn().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
    )
    steps = -(-len(training[1]) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, RATE, total_steps=arguments.epochs * steps, cycle_momentum=False
    )
    padded = functional.pad(training[0], [SHIFT] * 4)
    epoch, accuracy = 0, 0.0
    while epoch < arguments.epochs and accuracy < arguments.target_accuracy:
        for rows in torch.randperm(len(padded)).split(BATCH):
            images = normalized(shifted(padded, rows), mean, std)
            loss = functional.cross_entropy(model(images), training[1][rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        epoch, accuracy = epoch + 1, measured(model, *test)
    reached = accuracy >= arguments.target_accuracy
    print(json.dumps({"epochs": epoch, "accuracy": accuracy, "reached": reached}))
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True, help="holds the four gzipped files")
    parser.add_argument("--target-accuracy", type=float, required=True)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def read(folder: Path, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (N, 1, 28, 28) of bytes, and labels."""
    images = gzip.decompress((folder / f"{name}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / f"{name}-labels-idx1-ubyte.gz").read_bytes())
    pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 1, SIDE, SIDE).copy()
    numbers = np.frombuffer(labels, np.uint8, offset=8).astype(np.int64)
    return torch.from_numpy(pixels), torch.from_numpy(numbers)


def shifted(padded: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """These images, each moved by up to SHIFT pixels."""
    tops, lefts = torch.randint(2 * SHIFT + 1, (2, len(rows), 1))
    y, x = tops + torch.arange(SIDE), lefts + torch.arange(SIDE)
    return padded[rows[:, None, None], 0, y[:, :, None], x[:, None, :]][:, None]


def normalized(pixels: torch.Tensor, mean: float, std: float) -> torch.Tensor:
    images = pixels.float().div_(255).sub_(mean).div_(std)
    return images.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def measured(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of these images that the model names right."""
    found = [model(part).argmax(1) for part in images.split(EVALUATION_BATCH)]
    return (torch.cat(found) == labels).float().mean().item()


if __name__ == "__main__":
    raise SystemExit(main())
