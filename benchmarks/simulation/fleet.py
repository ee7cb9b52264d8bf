"""Workers, projects and FCM, put together."""

from __future__ import annotations

from random import Random

from .clock import START, Clock
from .service import Service, Trouble
from .worker import Queue, SimulatedWorker


class Fleet:
    """A simulation, ready to run.

    Args:
        workers: how many.
        projects: how many.
        messages: of each project.
        seed: of all chance.
        per_minute: quota of each project, as configured.
        cost_s: seconds of a worker's processor that a message takes.
        use: QUOTA_USE.
        a_second: messages that producers put in a second, for each project; None: all wait from the start.
        granted: what FCM grants each project a minute; None: what is configured.
        grain: tokens in a job.
        troubles: what goes wrong.

    Attributes:
        clock: simulated.
        service: FCM.
        queues: by project.
    """

    def __init__(
        self, workers: int, projects: int, messages: int, *, seed: int, per_minute: int, cost_s: float,
        use: float = 0.9, a_second: float | None = None, granted: int | None = None, grain: int = 250, troubles: tuple[Trouble, ...] = (),
    ) -> None:  # fmt: skip
        self.clock = Clock()
        self.service = Service(Random(seed), START, granted or per_minute, troubles)
        self._messages = messages * projects
        self.queues = {
            name: Queue(name, messages, grain, a_second) for name in (f"p{n}" for n in range(projects))
        }
        self._workers = [
            SimulatedWorker(
                f"w{number}", self.clock, self.service, self.queues, Random(seed * 1000 + number + 1),
                cost_s=cost_s, per_minute=per_minute, use=use,
            )
            for number in range(workers)
        ]  # fmt: skip

    def run(self, seconds: float, *, to_the_end: bool = False) -> float:
        """Let time pass; returns how many seconds did.

        Args:
            seconds: at most.
            to_the_end: stop when every message has its outcome.
        """
        self.clock.run(seconds, self._done if to_the_end else lambda: False)
        return self.clock.now - START

    @property
    def ended(self) -> int:
        """Messages that have their outcome."""
        return sum(queue.settled for queue in self.queues.values())

    def _done(self) -> bool:
        return self.ended >= self._messages
