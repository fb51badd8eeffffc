"""Attention without the matrix P: fused softmax, sums over keys, tiny sequences, when they pay; masks of dropout."""
