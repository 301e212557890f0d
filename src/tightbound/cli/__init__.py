"""The command line."""

import sys


def main() -> None:
    """Run it. Ctrl-C is understood from the first import on."""
    try:
        from tightbound.cli.app import main as run

        run()
    except KeyboardInterrupt:
        print("tightbound: Interrupted; nothing was begun.", file=sys.stderr)
        sys.exit(130)
