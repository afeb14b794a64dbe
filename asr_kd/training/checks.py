"""What is refused before the first update of a training."""

from asr_kd.config.schema import OptimiserConfig
from asr_kd.errors import AsrKdError
from asr_kd.training.data import FrameData

WHOLE = "auto"  # of `micro_batch`: all of the batch, and less when memory runs out


def check_settings(settings: OptimiserConfig, train: FrameData, dev: FrameData, name: str) -> None:
    """Refuse settings and data that no training can begin with."""
    micro_frames(settings, name)
    for key in ("epochs", "batch_frames", "threads", "processes"):
        if getattr(settings, key) < 1:
            raise AsrKdError(f"{name}: optimiser.{key}={getattr(settings, key)}: give at least 1")
    for key in ("peak_learning_rate", "final_learning_rate", "weight_decay", "shard_megabytes", "roll_backs"):
        if getattr(settings, key) < 0:
            raise AsrKdError(f"{name}: optimiser.{key}={getattr(settings, key)}: give 0 or more")
    if not 0.0 <= settings.label_smoothing < 1.0:
        raise AsrKdError(f"{name}: optimiser.label_smoothing={settings.label_smoothing}: give 0 to below 1")
    if settings.gradient_clip <= 0:
        raise AsrKdError(f"{name}: optimiser.gradient_clip={settings.gradient_clip}: give a positive norm")
    if not 0.0 <= settings.warmup_fraction < 1.0:
        raise AsrKdError(f"{name}: optimiser.warmup_fraction={settings.warmup_fraction}: give 0 to below 1")
    for part, data in (("train", train), ("dev", dev)):
        if not len(data.utterances):
            raise AsrKdError(f"{name}: no utterance of part {part} can be used; look at stage align")


def check_share(settings: OptimiserConfig, chunks: int, processes: int, name: str) -> None:
    """Refuse batches of so many chunks of frames that cannot be divided equally among processes."""
    if chunks % processes:
        raise AsrKdError(
            f"{name}: optimiser.batch_frames={settings.batch_frames} is {chunks} pieces of speech, which "
            f"{processes} processes cannot share equally; change it, or optimiser.processes"
        )


def check_labels(data: FrameData, senones: int, where: str) -> None:
    """Refuse labels that are no senones of the model; -1 is a frame without one."""
    for utterance in data.utterances:
        labels = data.targets["labels"].of(utterance)
        if len(labels) and not -1 <= labels.min() <= labels.max() < senones:
            raise AsrKdError(
                f"{where}, utterance {utterance}: labels from {labels.min()} to {labels.max()}, but the "
                f"model has {senones} senones; they come from different alignments: run stage align again"
            )


def micro_frames(settings: OptimiserConfig, name: str) -> int:
    """The frames of a batch that are computed at once; 0: all, and fewer when memory runs out.

    Raises:
        AsrKdError: the setting is neither a number nor "auto".
    """
    if settings.micro_batch == WHOLE:
        return 0
    if not settings.micro_batch.isdecimal() or int(settings.micro_batch) < 1:
        raise AsrKdError(
            f"{name}: optimiser.micro_batch={settings.micro_batch}: give a number of frames, or {WHOLE}"
        )
    return int(settings.micro_batch)
