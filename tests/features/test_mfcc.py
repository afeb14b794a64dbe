import kaldi_native_fbank
import numpy as np

from asr_kd.config import FeatureConfig
from asr_kd.features.fbank import Fbank
from asr_kd.features.mfcc import MFCC_MEL_BINS, Mfcc, cepstral_matrix


def test_equals_kaldi() -> None:
    waveform = (np.random.default_rng(3).standard_normal(16000) * 0.1).astype(np.float32)
    options = kaldi_native_fbank.MfccOptions()
    options.use_energy = False
    options.frame_opts.dither = 0
    options.frame_opts.snip_edges = False
    options.mel_opts.high_freq = -400
    kaldi = kaldi_native_fbank.OnlineMfcc(options)
    kaldi.accept_waveform(16000, (waveform * 32768).tolist())
    kaldi.input_finished()
    expected = np.stack([kaldi.get_frame(frame) for frame in range(kaldi.num_frames_ready)])
    np.testing.assert_allclose(Mfcc(FeatureConfig(), 16000).compute(waveform), expected, atol=2e-3)


def test_equals_the_sum_that_defines_it() -> None:
    waveform = (np.random.default_rng(4).standard_normal(1600) * 0.1).astype(np.float32)
    energies = Fbank(FeatureConfig(), 16000, MFCC_MEL_BINS).compute(waveform)[5]
    for order in range(13):
        terms = [
            energies[bin_] * np.cos(np.pi / 23 * order * (bin_ + 0.5)) * np.sqrt((2 if order else 1) / 23)
            for bin_ in range(23)
        ]
        lifter = 1 + 11 * np.sin(np.pi * order / 22)
        computed = Mfcc(FeatureConfig(), 16000).compute(waveform)[5, order]
        np.testing.assert_allclose(computed, sum(terms) * lifter, rtol=1e-4, atol=1e-3)


def test_the_first_cepstra_do_not_depend_on_how_many_are_kept() -> None:
    np.testing.assert_array_equal(cepstral_matrix(20)[:, :13], cepstral_matrix(13))


def test_digital_silence_gives_zeros() -> None:
    assert not Mfcc(FeatureConfig(), 16000).compute(np.zeros(1600, np.float32)).any()
