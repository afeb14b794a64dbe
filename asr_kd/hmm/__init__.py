"""GMM-HMM training, decision trees, alignment: the only room that knows kaldi_hmm_gmm."""

from asr_kd.hmm.model import GmmHmm
from asr_kd.hmm.training import train_gmm_hmm

__all__ = ["GmmHmm", "train_gmm_hmm"]
