"""Word errors: normalisation, alignment, counts by utterance, speaker and word."""
