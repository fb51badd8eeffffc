"""Attention without the matrix P: fused softmax, sums over keys, kernels for tiny sequences, and when they pay."""
