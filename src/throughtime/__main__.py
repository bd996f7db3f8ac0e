"""`python -m throughtime`: the command, where its script is not on the path."""

from .command.line import main

if __name__ == "__main__":
    raise SystemExit(main())
