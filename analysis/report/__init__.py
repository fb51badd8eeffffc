"""The report folder: its tables, its sections, its page."""
