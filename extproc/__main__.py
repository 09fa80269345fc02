"""`python -m extproc` is `extproc`."""

from extproc.cli.commands import main

main()
