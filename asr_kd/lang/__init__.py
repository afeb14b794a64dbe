"""Language models, lexicon transducers, decoding graphs."""
