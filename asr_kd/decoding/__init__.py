"""Search over decoding graphs, in worker processes."""
