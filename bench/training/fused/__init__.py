"""Many steps of a small attention-only model as one C program: lanes side by side on a GPU, or on a processor."""
