"""Senone posteriors of whole utterances."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from asr_kd.models.base import AcousticModel

# Bounds the memory of a forward pass: 4,096 windows of 26 x 40 features are 17 MB.
BATCH_FRAMES = 4096


def blocks(
    frames: np.ndarray, context: int, most: int = BATCH_FRAMES
) -> Iterator[tuple[int, np.ndarray, slice]]:
    """A long utterance in pieces whose scores can be computed one by one.

    Args:
        frames: ``(frames, ...)`` of one utterance.
        context: frames that a score depends on, to either side.
        most: frames of a piece.

    Yields:
        The first frame of a piece; its frames with those around it; which of these are the piece.
    """
    for first in range(0, len(frames), most):
        begin, last = max(0, first - context), min(first + most, len(frames))
        yield first, frames[begin : last + context], slice(first - begin, last - begin)


def replicate_edges(frames: Tensor, left: int, right: int) -> Tensor:
    """``(frames, dims)`` -> ``(left + frames + right, dims)``, the first and last frame repeated."""
    place = torch.arange(-left, len(frames) + right, device=frames.device).clamp(0, len(frames) - 1)
    return frames[place]


@torch.inference_mode()
def log_posteriors_at(
    model: AcousticModel, frames: np.ndarray, where: Tensor, precision: torch.dtype = torch.float32
) -> Tensor:
    """As `log_posteriors`, of some frames of an utterance: each from a window of its own.

    Args:
        model: in inference mode.
        frames: ``(frames, dims)``.
        where: places of frames, ``(some,)`` int64, on the model's device.
        precision: see `log_posteriors`.

    Returns:
        ``(some, senones)`` float32.
    """
    features = torch.as_tensor(np.array(frames)).to(where.device, torch.float32)
    padded = replicate_edges(features, model.left_context, model.right_context)
    windows = padded.unfold(0, model.left_context + 1 + model.right_context, 1)  # (frames, dims, window)
    with torch.autocast(where.device.type, torch.bfloat16, enabled=precision == torch.bfloat16):
        pieces = [model(windows[some].transpose(1, 2))[:, 0].float() for some in where.split(BATCH_FRAMES)]
    return torch.cat(pieces).log_softmax(dim=-1)


@torch.inference_mode()
def log_posteriors(
    model: AcousticModel,
    frames: np.ndarray | Tensor,
    device: torch.device | str | None = None,
    batch_frames: int = BATCH_FRAMES,
    precision: torch.dtype = torch.float32,
) -> Tensor:
    """Natural logarithms of the senone posteriors of one utterance.

    Args:
        model: on `device`; evaluated in inference mode whatever mode it is in.
        frames: ``(frames, dims)``, any floating type; beyond the edges the first and last frame repeat.
        device: where to compute; none: where the model is.
        batch_frames: output frames at a time.
        precision: of matrix products: float32, or bfloat16 for about twice the speed where `device` computes
            in it; the rest is float32 either way.

    Returns:
        ``(frames, senones)`` float32 on `device`.
    """
    device = next(model.parameters()).device if device is None else torch.device(device)
    features = torch.as_tensor(np.array(frames) if isinstance(frames, np.ndarray) else frames)
    features = features.to(device, torch.float32)
    if not len(features):
        return torch.empty(0, model.senones, device=device)
    padded = replicate_edges(features, model.left_context, model.right_context)
    return _outputs(model, padded, batch_frames, precision).log_softmax(dim=-1)


@torch.inference_mode()
def log_posteriors_together(
    model: AcousticModel, utterances: Sequence[np.ndarray], precision: torch.dtype = torch.float32
) -> list[Tensor]:
    """As `log_posteriors` of each, in one pass where the model is: a GPU wants thousands of frames at once.

    Args:
        model: evaluated in inference mode whatever mode it is in.
        utterances: ``(frames, dims)`` each.
        precision: see `log_posteriors`.

    Returns:
        ``(frames, senones)`` float32, one an utterance, on the model's device.
    """
    device, left, right = next(model.parameters()).device, model.left_context, model.right_context
    lengths = [len(frames) for frames in utterances]
    if not sum(lengths):
        return [torch.empty(0, model.senones, device=device)] * len(lengths)
    features = torch.as_tensor(np.concatenate(utterances)).to(device, torch.float32)
    spoken = [(frames, left, right) for frames in features.split(lengths) if len(frames)]
    padded = torch.cat([replicate_edges(*one) for one in spoken])
    scores = _outputs(model, padded, BATCH_FRAMES, precision).log_softmax(dim=-1)
    # Between utterances lie outputs that have seen both: they belong to none.
    found, first = [], 0
    for length in lengths:
        found.append(scores[first : first + length])
        first += length + left + right if length else 0
    return found


def _outputs(model: AcousticModel, padded: Tensor, batch_frames: int, precision: torch.dtype) -> Tensor:
    """The outputs ``(frames, senones)`` of ``(left + frames + right, dims)``, some frames at a time."""
    context = model.left_context + model.right_context
    frames, was_training = len(padded) - context, model.training
    model.eval()
    with torch.autocast(padded.device.type, torch.bfloat16, enabled=precision == torch.bfloat16):
        pieces = [
            model(padded[None, start : start + min(batch_frames, frames - start) + context])[0].float()
            for start in range(0, frames, batch_frames)
        ]
    model.train(was_training)
    return torch.cat(pieces)
