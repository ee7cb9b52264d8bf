"""`dispatcher topics`, `tokens` and `groups`: management jobs from a terminal, and what became of them.

topics.py, tokens.py, groups.py   the commands
options.py   the options they share
source.py    tokens and subscriptions from options and files, in pieces of one job
follow.py    enqueues the pieces as jobs and follows their outcomes
report.py    result file, summary
"""
