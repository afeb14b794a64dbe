"""Distillation losses, ensemble averages, the soft-target store."""
