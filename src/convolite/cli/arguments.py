"""The arguments of each command, and how they are spelled. Defaults are in `recipe`."""

from __future__ import annotations

import argparse
import math
import sys
from typing import NoReturn

from convolite import models
from convolite.cli.recipe import DATA_SETS, LARGEST_COUNT, OPTIMIZERS

_MOST_THREADS = 4096  # the core's limit
_TRAIN_STATUS = "Exit status: 0; 2 for bad usage or input; 130 after Ctrl-C, which saves first."


class _OneLineParser(argparse.ArgumentParser):
    """A parser whose complaint is one line, without the usage above it."""

    def error(self, message: str) -> NoReturn:
        """Leave with status 2."""
        print(f"{self.prog}: {' '.join(message.split())}", file=sys.stderr)
        raise SystemExit(2)


def build_parser() -> argparse.ArgumentParser:
    """Make the parser; the namespace it returns has `name` and `command`, a function."""
    from convolite import __version__

    parser = _OneLineParser(
        prog="convolite", description="Convolutional networks on CPUs.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"convolite {__version__}")
    commands = parser.add_subparsers(dest="name", metavar="COMMAND", required=True)
    _add_train(
        commands.add_parser(
            "train", help="train a network", epilog=_TRAIN_STATUS, allow_abbrev=False
        )
    )
    _add_evaluate(commands.add_parser("evaluate", help="test a trained one", allow_abbrev=False))
    _add_predict(commands.add_parser("predict", help="classify images", allow_abbrev=False))
    _add_info(commands.add_parser("info", help="show the setup or a run", allow_abbrev=False))
    return parser


def _add_train(parser: argparse.ArgumentParser) -> None:
    from convolite.cli.train import train

    parser.set_defaults(command=train)
    parser.add_argument("--model", choices=models.names(), help="default: sample_cnn")
    _add_data(parser, "default: digits, which need no files")
    parser.add_argument("--epochs", type=_epoch_count, metavar="N", help="default: by data set")
    parser.add_argument("--batch-size", type=_batch_size, metavar="N", help="default: 64")
    parser.add_argument("--optimizer", choices=OPTIMIZERS, help="default: sgd")
    parser.add_argument("--lr", type=_positive, metavar="X", help="highest learning rate")
    parser.add_argument("--momentum", type=_share, metavar="X", help="of sgd; default: 0.9")
    parser.add_argument("--seed", type=_count, metavar="N", help="default: 0")
    parser.add_argument(
        "--out", type=_folder, metavar="DIR", help="run folder; default: a new one in runs/"
    )
    parser.add_argument("--resume", metavar="DIR", help="go on with the run in this folder")
    parser.add_argument(
        "--target-accuracy",
        type=_positive_share,
        metavar="X",
        help="stop after the first epoch with at least this test accuracy; kept by --resume",
    )
    parser.add_argument(
        "--save-every",
        type=_positive_count,
        metavar="N",
        help="save a checkpoint every N batches, not only after each epoch",
    )


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    from convolite.cli.inspection import evaluate

    parser.set_defaults(command=evaluate)
    parser.add_argument("run", metavar="RUN", help="run folder")
    _add_data(parser, "default: what the run was trained with")


def _add_predict(parser: argparse.ArgumentParser) -> None:
    from convolite.cli.inspection import predict

    parser.set_defaults(command=predict)
    parser.add_argument("run", metavar="RUN", help="run folder")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files")
    parser.add_argument("--top", type=_positive_count, default=3, metavar="N", help="default: 3")
    parser.add_argument("--invert", action="store_true", help="for dark digits on a light ground")
    _add_threads(parser)


def _add_info(parser: argparse.ArgumentParser) -> None:
    from convolite.cli.inspection import info

    parser.set_defaults(command=info)
    parser.add_argument("run", nargs="?", metavar="RUN", help="run folder")


def _add_data(parser: argparse.ArgumentParser, help_text: str) -> None:
    parser.add_argument("--data", choices=DATA_SETS, help=help_text)
    parser.add_argument(
        "--data-dir", metavar="DIR", help="folder of the data set's files, or the one above it"
    )
    parser.add_argument(
        "--download", action="store_true", help="fetch the files if they are not there"
    )
    _add_threads(parser)


def _add_threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--threads", type=_thread_count, metavar="N", help="default: what the machine allows"
    )


def _count(text: str) -> int:
    return _integer(text, 0, "must not be negative")


def _positive_count(text: str) -> int:
    return _integer(text, 1, "must be positive")


def _epoch_count(text: str) -> int:
    return _at_most(LARGEST_COUNT, _count(text))


def _batch_size(text: str) -> int:
    return _at_most(LARGEST_COUNT, _positive_count(text))


def _thread_count(text: str) -> int:
    return _at_most(_MOST_THREADS, _positive_count(text))


def _at_most(most: int, number: int) -> int:
    if number > most:
        raise argparse.ArgumentTypeError(f"must be at most {most}, got {number}")
    return number


def _folder(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("must name a folder, got an empty text")
    return text


def _integer(text: str, smallest: int, rule: str) -> int:
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be an integer, got {text}") from None
    if number < smallest:
        raise argparse.ArgumentTypeError(f"{rule}, got {text}")
    return number


def _positive(text: str) -> float:
    number = _float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"must be positive, got {text}")
    return number


def _share(text: str) -> float:
    number = _float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"must be in [0, 1], got {text}")
    return number


def _positive_share(text: str) -> float:
    number = _float(text)
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError(f"must be in (0, 1], got {text}")
    return number


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number, got {text}") from None
