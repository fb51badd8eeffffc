"""The conformance suite: what every method, optimizer, schedule, workload and probe keeps to, a user's own too."""
