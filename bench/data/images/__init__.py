"""Images by name or path, and views of them."""
