"""Text: where it comes from, its tokenizers, and prepared corpora."""
