"""What goes into a paper: LaTeX tables, bibliography, methods text, the bundle."""
