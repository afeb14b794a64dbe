"""Acoustic models, one file each, built by name."""
