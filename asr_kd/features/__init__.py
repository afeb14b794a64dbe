"""Acoustic features and the frame store."""
