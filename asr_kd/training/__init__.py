"""Training: data, loop, schedule, checkpoints, metrics."""

from asr_kd.training.loop import Trainer

__all__ = ["Trainer"]
