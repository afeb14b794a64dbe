"""Training: data, loop, schedule, checkpoints, metrics."""

from asr_kd.training.loop import train_model

__all__ = ["train_model"]
