"""Measuring speed on a CPU."""
