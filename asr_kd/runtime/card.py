"""The model card for people."""

from collections.abc import Mapping
from typing import Any


def render_card(card: Mapping[str, Any]) -> str:
    """``README.md`` of a model folder, from the content of its ``model.json``."""
    measured, search, decoded = card["measured"]["test"], card["search"], card["decoded_wer"]
    on_dev = 100 * card["measured"]["dev"]["wer"]
    return f"""# {card["name"]}

A speech recogniser of asr_kd {card["version"]}: `asr-kd transcribe --model . FILE...`

| | |
|---|---|
| trained on | {card["corpus"]} |
| acoustic model | {card["kind"]}, {card["parameters"]:,} parameters |
| language model | {card["lm"]} |
| audio | {card["sample_rate"]} hertz; other rates are converted, channels averaged |
| search | acoustic scale {search["acoustic_scale"]}, beam {search["beam"]}, {search["max_active"]} states |

Measured with this very folder: word error rate {100 * measured["wer"]:.2f} % ({measured["errors"]} of
{measured["words"]} words) on the test part, {measured["utterances"]} utterances,
{measured["audio_seconds"]:.0f} s, each as of a new speaker; {on_dev:.2f} % on dev. Real-time factor
{measured["rtf"]:.4f}, audio in memory to words, one pass with {measured["threads"]} thread
({measured["processor"]}, {measured["machine"]}).

Stage decode, which knows every speaker's mean and variance beforehand, measured
{100 * decoded["test"]:.2f} % on test and {100 * decoded["dev"]:.2f} % on dev.

It knows only the words of `words.txt`. What it was made from is in `model.json`, the hash of every file in
`manifest.json`; nothing is loaded that does not match.
"""
