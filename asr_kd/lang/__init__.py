"""Language models, lexicon transducers, decoding graphs."""

from asr_kd.lang.graph import build_graph
from asr_kd.lang.ngram import train_arpa

__all__ = ["build_graph", "train_arpa"]
