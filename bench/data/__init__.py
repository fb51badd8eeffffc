"""Data by name or path: text (corpus.py), sentences and translations, images (images.py) and views of them, speech."""
