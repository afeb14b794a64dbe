"""MNIST: 28 x 28 images of digits in the four standard IDX files; no speech: the paper's first experiment.

Each image is a frame of 784 features from 0 to 1, each digit a class; a training image is an utterance of its
own. An eighth of the training images is held out as dev.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from asr_kd.config import DataConfig
from asr_kd.corpus.corpus import local_folder
from asr_kd.corpus.download import Remote, fetch
from asr_kd.corpus.given_frames import GivenFrames
from asr_kd.errors import AsrKdError
from asr_kd.seeding import generator

BASE = "https://ossci-datasets.s3.amazonaws.com/mnist/"
# The hashes are those that torchvision checks.
FILES = {
    "train-images-idx3-ubyte.gz": "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "md5:d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "md5:9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "md5:ec29112dd5afa0611ce80d1b7f02629c",
}
STEMS = {"train": "train", "test": "t10k"}
CLASSES = 10
DEV_FRACTION = 8  # an eighth of the training images; with 60,000 it is 7,500
MOST_BYTES = 1 << 28  # of an unpacked file, far above the 47 MB of the training images
# Dev and test are measured in utterances of so many images, a tenth of a second of work each.
IMAGES_TOGETHER = 100


def frames(config: DataConfig, folder: Path, seed: int = 0) -> dict[str, GivenFrames]:
    """Read the IDX files in `config.source`, or download them into `folder`.

    Raises:
        AsrKdError: a file is missing or not what it should be, or nothing could be downloaded.
    """
    if config.source:
        folder = local_folder(config.source, *FILES)
    else:
        for name, digest in FILES.items():
            fetch(Remote(BASE + name, digest), folder)
    train, test = (_read_part(folder, stem) for stem in STEMS.values())
    order = generator(seed, "mnist", "dev").permutation(len(train[1]))
    held_out, rest = (
        np.sort(order[: len(order) // DEV_FRACTION]),
        np.sort(order[len(order) // DEV_FRACTION :]),
    )
    return {
        "train": _part("train", train[0][rest], train[1][rest], 1),
        "dev": _part("dev", train[0][held_out], train[1][held_out], IMAGES_TOGETHER),
        "test": _part("test", *test, IMAGES_TOGETHER),
    }


def _part(name: str, images: np.ndarray, labels: np.ndarray, together: int) -> GivenFrames:
    starts = range(0, len(labels), together)
    lengths = [min(together, len(labels) - start) for start in starts]
    ids = [f"{name}-{start:05}" for start in starts]
    return GivenFrames(tuple(ids), tuple(lengths), (images / 255).astype(np.float16), labels, CLASSES)


def _read_part(folder: Path, stem: str) -> tuple[np.ndarray, np.ndarray]:
    images = read_idx(folder / f"{stem}-images-idx3-ubyte.gz")
    labels = read_idx(folder / f"{stem}-labels-idx1-ubyte.gz")
    if images.ndim != 3 or len(images) != len(labels) or labels.ndim != 1:
        raise AsrKdError(
            f"{folder}: {stem}: images {images.shape} and labels {labels.shape} do not belong together"
        )
    if len(labels) == 0 or labels.max() >= CLASSES:
        raise AsrKdError(f"{folder}: {stem}: labels must be digits from 0 to 9")
    return images.reshape(len(images), -1), labels.astype(np.int32)


def read_idx(path: Path) -> np.ndarray:
    """An array of bytes in the IDX format, gzipped.

    Raises:
        AsrKdError: the file is missing, damaged, or does not hold what its header says.
    """
    try:
        with gzip.open(path) as file:
            content = file.read(MOST_BYTES)
        zero, kind, axes = struct.unpack(">HBB", content[:4])
        shape = struct.unpack(f">{axes}I", content[4 : 4 + 4 * axes])
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise AsrKdError(f"{path} is not a gzipped IDX file ({error}); copy it anew") from error
    body = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * axes)
    if (zero, kind) != (0, 8) or body.size != math.prod(shape):
        raise AsrKdError(f"{path}: {body.size} bytes, but its header says {kind=}, {shape=}; copy it anew")
    return body.reshape(shape)
