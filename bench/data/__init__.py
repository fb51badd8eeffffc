"""Data of language models (corpus.py) and of image classifiers (images.py), found by name or path."""
