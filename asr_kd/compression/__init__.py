"""Smaller and faster networks out of trained ones: pruning, low rank, export, quantisation."""
