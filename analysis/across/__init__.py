"""Over several scores, workloads, optimizers or runs: profiles, ranks, differences, published numbers."""
