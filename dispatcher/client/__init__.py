"""What producers and owners of token tables use from Python: enqueue jobs, read what became of them.

    producer.py   Producer: jobs into the lanes
    outcomes.py   OutcomeReader: what became of each message

Any language can do the same with a Redis client: the README describes keys and fields. Importing this package
brings neither an HTTP client nor Google's libraries.
"""

from dispatcher.client.outcomes import OutcomeReader, OutcomeRecord
from dispatcher.client.producer import JobOptions, MessageWarning, Producer

__all__ = ["JobOptions", "MessageWarning", "OutcomeReader", "OutcomeRecord", "Producer"]
