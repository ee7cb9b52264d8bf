"""The command line: one file a command; `app.py` puts them together and turns errors into exit codes.

Commands say what they did on standard output, as text or with `--json` for machines, and what went wrong on
standard error, in one line that names the mend. Exit codes: 0 done, 1 ran and something failed, 2 wrong use or
settings. What a command needs beyond the settings it imports when it runs, so that `--help` is quick.
"""
