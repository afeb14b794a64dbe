"""Acoustic models: frames in, senone logits out."""

from asr_kd.models.base import AcousticModel
from asr_kd.models.registry import build, resolve

__all__ = ["AcousticModel", "build", "resolve"]
