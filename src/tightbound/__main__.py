"""`python -m tightbound`."""

from tightbound.cli.app import main

if __name__ == "__main__":
    main()
