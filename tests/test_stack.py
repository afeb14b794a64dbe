"""The Kaldi wheels hang for ever, silently, in wrong company: an import with a time limit guards the pins."""

import subprocess
import sys

import pytest

STACK = ["torch", "torchaudio", "librosa", "soundfile", "jiwer", "hydra", "espeakng_loader"]
KALDI = ["kaldi_hmm_gmm", "kaldifst", "kaldi_decoder", "kaldilm", "kaldi_native_fbank", "kaldingram"]
SECONDS = 120


@pytest.mark.parametrize(
    "order", [STACK + KALDI, KALDI + STACK, KALDI[::-1] + STACK], ids=["last", "first", "reversed"]
)
def test_whole_stack_imports_in_any_order(order: list[str]) -> None:
    program = "; ".join(f"import {name}" for name in order)
    subprocess.run([sys.executable, "-c", program], check=True, timeout=SECONDS)


def test_transducers_pass_between_the_wheels() -> None:
    program = """
import kaldi_hmm_gmm, kaldi_decoder, kaldifst, numpy
fst = kaldifst.compile("0 1 1 1 0.5\\n1 0.0\\n")
decoder = kaldi_decoder.FasterDecoder(fst, kaldi_decoder.FasterDecoderOptions())
decoder.decode(kaldi_decoder.DecodableCtc(numpy.zeros((1, 1), dtype=numpy.float32)))
assert decoder.reached_final()
kaldi_hmm_gmm.FasterDecoder(fst, kaldi_hmm_gmm.FasterDecoderOptions())
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=SECONDS)
