"""The recogniser that is shipped: audio in, words out. Imports neither torch nor anything of training."""

from asr_kd.runtime.recogniser import Recogniser, Segment, Stream, Word

__all__ = ["Recogniser", "Segment", "Stream", "Word"]
