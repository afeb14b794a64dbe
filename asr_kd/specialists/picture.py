"""The sets of specialists for people: a table in words, and a picture of what is confused."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from asr_kd.specialists.sets import SpecialistSets

TABLE_FILE, PICTURE_FILE = "sets.md", "sets.png"


def write_table(
    folder: Path, sets: SpecialistSets, names: Sequence[str], correlation: np.ndarray, frames: np.ndarray
) -> None:
    """Write ``sets.md``.

    Args:
        folder: where to.
        sets: of the specialists.
        names: of all senones, for people.
        correlation: of the posteriors, ``(senones, senones)``.
        frames: of each senone in training, ``(senones,)``.
    """
    lines = [
        "# Sets of the specialists",
        "",
        "Senones by how frequent they are in training: phone, state counted from 0, and the phones that may "
        "stand left and right of it. Correlation: of posteriors, mean over the pairs of a set.",
        "",
    ]
    for number, own in enumerate(sets.sets):
        inside = correlation[np.ix_(own, own)]
        pairs = max(len(own) * (len(own) - 1), 1)
        lines += [
            f"## specialist-{number}",
            "",
            f"{len(own)} senones, {100 * frames[list(own)].sum() / max(frames.sum(), 1):.1f} % of the "
            f"frames, mean correlation {(inside.sum() - np.trace(inside)) / pairs:.3f}",
            "",
        ]
        ordered = sorted(own, key=lambda senone: (-frames[senone], senone))
        lines += [f"- {names[senone]} ({int(frames[senone]):,} frames)" for senone in ordered]
        lines.append("")
    (folder / TABLE_FILE).write_text("\n".join(lines), encoding="utf-8")


def draw_sets(folder: Path, sets: SpecialistSets, correlation: np.ndarray) -> None:
    """Draw ``sets.png``: correlations of posteriors, senones of a set side by side, the others last.

    A senone of several sets stands in the first of them.
    """
    from matplotlib.figure import Figure  # takes long to load

    order = list(dict.fromkeys(senone for own in sets.sets for senone in own))
    covered = len(order)
    order += sorted(set(range(sets.senones)) - set(order))
    known: set[int] = set()
    figure = Figure(figsize=(7, 6), layout="constrained")
    axes = figure.subplots()
    shown = correlation[np.ix_(order, order)]
    largest = float(np.quantile(np.abs(shown - np.diag(np.diag(shown))), 0.999)) or 1.0
    image = axes.imshow(shown, cmap="RdBu_r", vmin=-largest, vmax=largest, interpolation="nearest")
    first = 0
    for own in sets.sets:
        last = first + len(set(own) - known)
        known |= set(own)
        axes.plot(
            np.array([first, last, last, first, first]) - 0.5,
            np.array([first, first, last, last, first]) - 0.5,
            color="black",
            linewidth=0.6,
        )
        first = last
    axes.set(
        title=f"{len(sets.sets)} sets; {covered} of {sets.senones} senones are in one",
        xlabel="senones, by set",
        ylabel="senones, by set",
    )
    figure.colorbar(image, label="correlation of posteriors")
    figure.savefig(folder / PICTURE_FILE, dpi=100, metadata={"Software": None})
