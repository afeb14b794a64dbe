"""Corpora: utterances, manifests, lexicons, validation."""
