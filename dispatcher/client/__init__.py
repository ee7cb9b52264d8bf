"""What producers and owners of token tables use from Python: enqueue jobs, read what became of them.

    producer.py   Producer: jobs into the lanes
    outcomes.py   OutcomeReader: what became of each message
    letters.py    DeadLetters: what was rejected or given up; replay, purge

Any language can do the same with a Redis client: the README describes keys and fields. Importing this package
brings neither an HTTP client nor Google's libraries.
"""

from dispatcher.client.letters import DeadCount, DeadFilter, DeadLetters, Replayed
from dispatcher.client.outcomes import OutcomeReader, OutcomeRecord
from dispatcher.client.producer import JobOptions, MessageWarning, Producer
from dispatcher.protocol.letter import DeadLetter

__all__ = [
    "DeadCount",
    "DeadFilter",
    "DeadLetter",
    "DeadLetters",
    "JobOptions",
    "MessageWarning",
    "OutcomeReader",
    "OutcomeRecord",
    "Producer",
    "Replayed",
]
