"""The errors that users see: one line each, with the exit code of the command line."""


class BenchError(Exception):
    """Base of every error with a message for the user; `exit_code` is what the command line returns."""

    exit_code = 1


class UsageError(BenchError):
    """Bad usage or a bad suite: says what was required, what was got and where."""

    exit_code = 2


class StoreError(BenchError):
    """The store of results or the cluster can't be reached or can't be read."""

    exit_code = 4


class BudgetError(BenchError):
    """The disk or the budget is used up."""

    exit_code = 5
