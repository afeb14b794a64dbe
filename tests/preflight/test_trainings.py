from collections.abc import Callable
from typing import Any

import pytest

from asr_kd.compression.networks import multiply_adds
from asr_kd.models import build
from asr_kd.models.registry import named_settings
from asr_kd.preflight.trainings import factorised, shrunk

DIMS, SENONES = 40, 300


@pytest.mark.parametrize("shape", [shrunk, factorised])
@pytest.mark.parametrize("share", [0.1, 0.25, 0.6])
def test_what_pruning_leaves_has_its_share_of_the_multiply_adds(
    shape: Callable[..., dict[str, Any]], share: float
) -> None:
    settings = named_settings({"student": {"kind": "dnn"}}, "student", "distill.students")
    whole = build(settings, DIMS, SENONES)
    small = build(shape(settings, DIMS, SENONES, share), DIMS, SENONES)
    assert multiply_adds(small) == pytest.approx(share * multiply_adds(whole), rel=0.03)
