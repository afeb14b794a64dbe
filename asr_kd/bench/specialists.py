"""How many frames a second generalist and specialists become one distribution, and what the networks cost.

python -m asr_kd.bench.specialists --work exp/an4 [--top 1 2 5] [--frames 5000] [--passes 3]
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from asr_kd.distillation.teachers import specialist_sets
from asr_kd.features.store import open_part
from asr_kd.models.inference import log_posteriors
from asr_kd.models.storage import load_model
from asr_kd.specialists.inference import Opinion, combine, combine_plain
from asr_kd.specialists.teacher import LoadedSpecialists
from asr_kd.training.log import LOG_FILE

Said = list[tuple[Tensor, list[Opinion]]]


def take_frames(work: Path, frames: int) -> list[np.ndarray]:
    """Features of whole utterances of part dev, at least `frames` frames where it has them."""
    part, taken = open_part(work / "features" / "dev"), []
    for _, span in part.index.spans():
        taken.append(np.array(part.fbank[span]))
        if sum(map(len, taken)) >= frames:
            break
    return taken


def best_seconds(function: Callable[[], object], passes: int) -> float:
    """The shortest time of a function."""
    times = []
    for _ in range(passes):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return min(times)


def farthest(said: Said) -> float:
    """The largest difference of a probability between the two forms."""
    return max(
        float((combine(own, opinions).exp() - combine_plain(own, opinions).exp()).abs().max())
        for own, opinions in said
    )


def describe(folders: Sequence[Path], generalist: Path) -> str:
    """Updates of the specialists' trainings against the generalist's, from their logs."""

    def updates(folder: Path) -> int:
        lines = (folder / LOG_FILE).read_text(encoding="utf-8").splitlines()
        return int(json.loads(lines[-1])["update"])

    own = [updates(folder) for folder in folders]
    whole = updates(generalist)
    return (
        f"updates of training: generalist {whole:,}, specialists {min(own):,} to {max(own):,} "
        f"({max(own) / whole:.3f} of the generalist's at most, {sum(own) / whole:.2f} all together)"
    )


def _ask(loaded: LoadedSpecialists, speech: Sequence[np.ndarray], own: Sequence[Tensor]) -> Said:
    return [(one, loaded.opinions(frames, one)) for frames, one in zip(speech, own, strict=True)]


def _combine(form: Callable[[Tensor, list[Opinion]], Tensor], said: Said) -> None:
    for log_generalist, opinions in said:
        form(log_generalist, opinions)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description="Speed of inference with specialists.")
    parser.add_argument("--work", type=Path, required=True, help="a recipe's folder with trained specialists")
    parser.add_argument("--generalist", default="member-0")
    parser.add_argument("--top", type=int, nargs="+", default=[1, 2, 5])
    parser.add_argument("--frames", type=int, default=5_000)
    parser.add_argument("--passes", type=int, default=3)
    given = parser.parse_args()

    torch.set_num_threads(1)
    train = given.work / "train"
    folders = list(specialist_sets(given.work))
    model, speech = load_model(train / given.generalist), take_frames(given.work, given.frames)
    frames = sum(map(len, speech))
    own = [log_posteriors(model, one) for one in speech]
    seconds = best_seconds(lambda: [log_posteriors(model, one) for one in speech], given.passes)
    print(f"{len(folders)} specialists, {model.senones} senones, {frames:,} frames, one thread")
    print(describe(folders, train / given.generalist))
    print(f"generalist alone: {frames / seconds:,.0f} frames/s")
    print(
        "| top | active a frame | specialists' networks, frames/s | combine | combine_plain | "
        "largest difference |"
    )
    print("|" + "--:|" * 6)
    for top in given.top:
        loaded = LoadedSpecialists(folders, model.senones, top, "cpu")
        said = _ask(loaded, speech, own)
        networks = best_seconds(partial(_ask, loaded, speech, own), given.passes)
        fast, plain = (
            best_seconds(partial(_combine, form, said), given.passes) for form in (combine, combine_plain)
        )
        active = sum(len(opinion.frames) for _, opinions in said for opinion in opinions) / frames
        print(
            f"| {top} | {active:.2f} | {frames / networks:,.0f} | {frames / fast:,.0f} | "
            f"{frames / plain:,.0f} | {farthest(said):.1e} |"
        )


if __name__ == "__main__":
    main()
