"""Senone posteriors of whole utterances."""

from collections.abc import Iterator

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
    context = model.left_context + model.right_context
    was_training = model.training
    model.eval()
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == torch.bfloat16):
        pieces = [
            model(padded[None, start : start + min(batch_frames, len(features) - start) + context])[0].float()
            for start in range(0, len(features), batch_frames)
        ]
    model.train(was_training)
    return torch.cat(pieces).log_softmax(dim=-1)
