"""dispatcher.pipeline.settling: what is learnt of a project from its answers"""

import asyncio

import pytest

from dispatcher.model import Batch, Fate, Job, SendError, SendResponse
from dispatcher.pipeline.concluding import Context
from dispatcher.pipeline.errands import Errands
from dispatcher.pipeline.project import Project
from dispatcher.pipeline.sending import HELD
from dispatcher.pipeline.settling import Finished, Settling
from dispatcher.policy.room import Room
from dispatcher.policy.settle import Rules
from dispatcher.queue.store import Queue
from dispatcher.settings import Settings
from dispatcher.telemetry.logs import logger
from dispatcher.telemetry.metrics import Metrics
from dispatcher.transport.auth import StaticToken
from dispatcher.transport.session import Session
from dispatcher.transport.v1 import V1Transport
from dispatcher.transport.wire import Timeouts

NOW = 1_731_000_000.0
UNKNOWN = SendResponse(error=SendError(Fate.UNKNOWN))
ACCEPTED = SendResponse(message_id="projects/demo/messages/1")
NOT_ASKED = SendResponse()


@pytest.fixture
def project() -> Project:
    settings = Settings.load(None, {"DISPATCHER_MAX_CONCURRENT_REQUESTS": "8"}).project("demo")
    wire = V1Transport(Session(), settings.fcm_endpoint, Timeouts(15, 60), lambda *_: None)
    made = Project(settings, wire, StaticToken(), Errands(wire, StaticToken(), 1000))
    made.concurrency.congested(0.0)
    assert made.concurrency.limit == 4
    return made


@pytest.fixture
def settling() -> Settling:
    queue = Queue.at("redis://nobody.invalid", consumer="c")  # never asked
    return Settling(
        queue, Room(1000, 10**6), asyncio.Event(), metrics=Metrics(""), log=logger("dispatcher.test")
    )


def batch(size: int) -> Batch:
    jobs = [
        Job(
            f"1-{n}",
            "normal",
            "demo",
            [],
            0,
            str(n),
            "normal",
            b"{}",
            "token",
            [f"t{n}"],
            False,
            NOW,
            NOW + 60,
        )
        for n in range(size)
    ]
    return Batch("demo", "normal", jobs, size=size, nbytes=0, epoch=1)


@pytest.mark.parametrize(
    ("responses", "set_aside", "limit"),
    [
        pytest.param([ACCEPTED] * 4, (), 5, id="answers to all: one round of success"),
        pytest.param([NOT_ASKED] * 4, range(4), 4, id="set aside whole: nothing was sent"),
        pytest.param([ACCEPTED, *[NOT_ASKED] * 3], range(1, 4), 4, id="one was sent: a quarter of a round"),
        pytest.param([UNKNOWN] * 4, (), 4, id="no answer at all"),
    ],
)
def test_the_concurrency_grows_by_what_was_answered(project, settling, responses, set_aside, limit):
    presets = dict.fromkeys(set_aside, HELD)
    context = Context(NOW, Rules(), lambda: 0.0)
    settling._learn(Finished(project, batch(4), responses, presets), context, 100.0, all_good=False)
    assert project.concurrency.limit == limit
