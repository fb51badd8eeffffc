"""Scores, intervals, leaderboards, tables and figures: Polars frames in, frames and files out."""
