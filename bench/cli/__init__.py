"""Typer commands; the only place that prints."""

import sys


def main() -> None:
    """The program `bench`: Ctrl-C is a word and exit code 130 while its commands are imported, too."""
    try:
        from bench.cli.app import main as run_command
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        sys.exit(130)
    run_command()
