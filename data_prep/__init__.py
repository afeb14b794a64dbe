"""One script a corpus: where it comes from, and how it becomes utterances."""
