"""Every setting of a recipe, with its default and its reason. The lowest floor: imports nothing of ours."""

from asr_kd.config.schema import (
    AlignConfig,
    BenchConfig,
    Config,
    DataConfig,
    DecodeConfig,
    DistillConfig,
    FeatureConfig,
    GmmConfig,
    LmConfig,
    MiniConfig,
    OptimiserConfig,
    PartsConfig,
    RealignConfig,
    StudentConfig,
    TrainConfig,
)

__all__ = [
    "AlignConfig",
    "BenchConfig",
    "Config",
    "DataConfig",
    "DecodeConfig",
    "DistillConfig",
    "FeatureConfig",
    "GmmConfig",
    "LmConfig",
    "MiniConfig",
    "OptimiserConfig",
    "PartsConfig",
    "RealignConfig",
    "StudentConfig",
    "TrainConfig",
]
