"""Trains the sample network on MNIST, step by step: data, model, optimizer, training, use.

    python examples/train_mnist.py --data-dir FOLDER_OF_THE_IDX_FILES

The same job from the command line: ``convolite train --data mnist --data-dir FOLDER``.
"""

from __future__ import annotations

import argparse

import convolite
from convolite.data import MNIST, DataLoader, channel_statistics
from convolite.data.transforms import Compose, Normalize, RandomCrop, ToFloat
from convolite.models import sample_cnn
from convolite.optim import SGD
from convolite.optim.lr_scheduler import OneCycleLR
from convolite.train import Trainer

EPOCHS, BATCH_SIZE, LEARNING_RATE = 3, 64, 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", help="folder of the published idx files")
    parser.add_argument("--download", action="store_true", help="fetch them if they are missing")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    arguments = parser.parse_args()

    convolite.manual_seed(0)
    training = MNIST(arguments.data_dir, download=arguments.download)
    test = MNIST(arguments.data_dir, train=False, download=arguments.download)

    # Each image is moved by up to two pixels, anew in every epoch; all get mean 0 and deviation 1.
    normalize = Normalize(*channel_statistics(training.images))
    augment = Compose([RandomCrop(28, padding=2), ToFloat(), normalize])
    train_loader = DataLoader(training, BATCH_SIZE, shuffle=True, num_workers=1, transform=augment)
    test_loader = DataLoader(test, 256, num_workers=1, transform=Compose([ToFloat(), normalize]))

    model = sample_cnn()
    print(model.summary((1, 28, 28)))
    optimizer = SGD(model.parameters(), lr=LEARNING_RATE, momentum=0.9, weight_decay=5e-4)
    schedule = OneCycleLR(
        optimizer,
        LEARNING_RATE,
        total_steps=arguments.epochs * len(train_loader),
        cycle_momentum=False,
    )
    trainer = Trainer(model, optimizer, scheduler=schedule)
    trainer.fit(train_loader, test_loader, epochs=arguments.epochs)

    images, labels = next(iter(test_loader))
    predicted = trainer.predict(images[:10]).argmax(axis=1)
    print("predicted", predicted, "in truth", labels[:10])
    print(f"test accuracy {trainer.evaluate(test_loader)['accuracy']:.4f}")
    convolite.save(model, "mnist.safetensors")


if __name__ == "__main__":
    main()
