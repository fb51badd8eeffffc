"""Typer commands; the only place that prints."""
