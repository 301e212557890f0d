"""`python -m tightbound`."""

from tightbound.cli import main

if __name__ == "__main__":
    main()
