"""Ray: connecting, scheduling packs on workers with Tune, retries, checkpoints and jobs; the one room that knows it."""
