"""`python -m pointsman` is the `pointsman` command."""

from .cli import main

main()
