"""Charts, and the frames that they draw: a module computes or draws, never both."""
