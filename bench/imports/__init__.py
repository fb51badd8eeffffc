"""Other people's runs as results of ours: a tidy file, checked cell by cell."""
