"""One type of table, and each form that it is written in: text, Markdown, HTML, LaTeX, CSV."""
