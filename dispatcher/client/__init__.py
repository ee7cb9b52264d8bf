"""What producers and owners of token tables use from Python: enqueue jobs, read what became of them.

    producer.py   Producer: jobs into the lanes
    blocking.py   SyncProducer: the same without asyncio
    outcomes.py   OutcomeReader: what became of each message
    group.py      OutcomeGroupReader: the same, shared by several, each outcome acknowledged
    blocking_readers.py   SyncOutcomeReader, SyncOutcomeGroupReader: both without asyncio
    upstream.py   UpstreamReader: what devices sent, and delivery receipts
    letters.py    DeadLetters: what was rejected or given up; replay, purge
    records.py    RecordReader: a place in a stream of records, for the two readers
    connected.py  Connected: closes the connection, for all but the group's reader

Any language can do the same with a Redis client: the README describes keys and fields. Importing this package
brings neither an HTTP client nor Google's libraries.
"""

from dispatcher.client.blocking import SyncProducer
from dispatcher.client.blocking_readers import SyncOutcomeGroupReader, SyncOutcomeReader
from dispatcher.client.group import OutcomeGroupReader
from dispatcher.client.jobs import JobOptions, Message
from dispatcher.client.letters import DeadCount, DeadFilter, DeadLetters, Replayed
from dispatcher.client.outcomes import OutcomeReader, OutcomeRecord
from dispatcher.client.producer import Enqueued, MessageWarning, Producer, ProducerOptions
from dispatcher.client.upstream import UpstreamMessage, UpstreamReader
from dispatcher.protocol.letter import DeadLetter

__all__ = [
    "DeadCount",
    "DeadFilter",
    "DeadLetter",
    "DeadLetters",
    "Enqueued",
    "JobOptions",
    "Message",
    "MessageWarning",
    "OutcomeGroupReader",
    "OutcomeReader",
    "OutcomeRecord",
    "Producer",
    "ProducerOptions",
    "Replayed",
    "SyncOutcomeGroupReader",
    "SyncOutcomeReader",
    "SyncProducer",
    "UpstreamMessage",
    "UpstreamReader",
]
