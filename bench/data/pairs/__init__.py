"""Sentences and their translations: from files or made of numbers, their tokenizers, and prepared folders."""
