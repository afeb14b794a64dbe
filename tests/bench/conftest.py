"""Fixtures of the bench tests."""

from tests.runtime.conftest import model_folder, network_file

__all__ = ["model_folder", "network_file"]
