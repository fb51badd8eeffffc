"""Frames behind the figures: aggregated traces, maps of divergence, what a second look saw, theory."""
