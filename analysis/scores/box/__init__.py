"""Robustness to all knobs of a box at once: shares of it, the best of so many draws, errors over designs and seeds."""
