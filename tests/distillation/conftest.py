"""Fixtures of the distillation tests."""

from tests.training.conftest import one_thread  # noqa: F401 (used by every test)
