"""`python -m remediator` is the `remediator` command."""

from remediator.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
