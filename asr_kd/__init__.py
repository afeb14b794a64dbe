"""Distils an ensemble of speech acoustic models into one small model, and measures what was kept and lost."""

__version__ = "0.1.0"
