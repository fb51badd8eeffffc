"""The conformance suite: what every method, optimizer, schedule, workload and probe keeps to, a user's own too."""

from bench.testing.check import PROPERTIES, Finding, check_entry, refuse_broken

__all__ = ["PROPERTIES", "Finding", "check_entry", "refuse_broken"]
