"""Runs that differ in their seed alone: one row, one side of a comparison."""

import json
from collections.abc import Mapping
from typing import Any


def but_seed(settings: Mapping[str, Any]) -> str:
    """What settings, plain data, have in common where they differ in `seed` alone."""
    return json.dumps({key: value for key, value in settings.items() if key != "seed"}, sort_keys=True)
