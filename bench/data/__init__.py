"""Data by name or path: text, sentences and translations, speech, images and views of them."""
