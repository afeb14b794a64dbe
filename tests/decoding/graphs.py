"""Tiny decoding graphs, written by hand."""

from collections.abc import Sequence
from pathlib import Path

import kaldifst


def write_graph(folder: Path, words: Sequence[str], self_loop_cost: float = 0.1) -> Path:
    """A loop of words, word i being one or more frames of senone i followed by one of senone ``len(words)``.

    Only after that last senone is the path in a final state.
    """
    end = len(words) + 1
    lines = []
    for word in range(len(words)):
        label, state = word + 1, word + 1
        lines += [f"0 {state} {label} {label} 1", f"{state} {state} {label} 0 {self_loop_cost}"]
        lines.append(f"{state} 0 {end} 0 0")
    lines.append("0 0")
    folder.mkdir(parents=True, exist_ok=True)
    kaldifst.compile("\n".join(lines) + "\n", acceptor=False).write(str(folder / "HCLG.fst"))
    table = ["<eps> 0", *(f"{word} {label}" for label, word in enumerate(words, start=1))]
    (folder / "words.txt").write_text("".join(f"{line}\n" for line in table), encoding="utf-8")
    return folder
