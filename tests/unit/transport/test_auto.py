"""Which wire `auto` says it will use."""

from dispatcher.model import Batch
from dispatcher.transport.auto import AutoTransport
from dispatcher.transport.batch import BatchTransport
from dispatcher.transport.session import Session
from dispatcher.transport.v1 import V1Transport
from dispatcher.transport.wire import Timeouts


def test_it_is_batch_until_batch_is_known_to_be_gone() -> None:
    session, timeouts = Session(), Timeouts()
    auto = AutoTransport(
        BatchTransport(session, "http://x/", "b", timeouts, print),
        V1Transport(session, "http://x/", timeouts, print),
    )
    batch = Batch("p", "normal", [], 7, 0, 1)
    assert (auto.name, auto.requests(batch)) == ("batch", 1)
    auto.batch_gone = True
    assert (auto.name, auto.requests(batch)) == ("v1", 7)
