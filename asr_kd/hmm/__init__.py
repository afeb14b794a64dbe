"""GMM-HMM training, decision trees, alignment: the only room that knows kaldi_hmm_gmm."""
