"""The clients without asyncio, for programs of threads, scripts, WSGI and Celery: enqueueing (reading: blocking_readers.py).

Example:
    with SyncProducer.at(REDIS_URL) as producer:
        entry_id = producer.send(PROJECT, {"token": "fQ7x...", "notification": {"title": "Hi"}})

The connection lives on an event loop in a thread of its own, so that a caller may have a loop of its own, or none.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import Future
from threading import Lock, Thread
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar, Unpack

from dispatcher.client.jobs import JobOptions, Message, Multicast, Page, check_place, many, one
from dispatcher.client.producer import Enqueued, Producer, ProducerAccess, pages, warn
from dispatcher.model import Lane

T = TypeVar("T")


class Client(Protocol):
    """What has a connection and is an async context manager."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        ...


C = TypeVar("C", bound=Client)


class LoopThread(Generic[C]):
    """An event loop in a daemon thread, for one client."""

    def __init__(self, make: Callable[[], C]) -> None:
        self.pid = os.getpid()
        self.client = make()
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="fcm-dispatcher-client", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Carry out `work` on the loop and wait for its result, which is then this call's."""
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            # Interrupted while waiting (Ctrl-C): nobody is left to hear of it.
            future.cancel()
            raise

    def stop(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection and end the thread."""
        try:
            self.run(self.client.__aexit__(kind, error, trace))
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()


class Blocking(Generic[C]):
    """A client for callers without asyncio; any number of threads may share one.

    It connects with the first call, and anew in a process that was forked from its own: make it before or after the
    fork.

    Args:
        make: makes the asynchronous client.
    """

    def __init__(self, make: Callable[[], C]) -> None:
        self._make = make
        self._lock = Lock()
        self._running: LoopThread[C] | None = None

    def close(self) -> None:
        """Close the connection and end the thread; the next call would start both again."""
        self._end(None, None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(kind, error, trace)

    def _end(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            running, self._running = self._running, None
        if running is not None and running.pid == os.getpid():
            running.stop(kind, error, trace)

    def _ready(self) -> LoopThread[C]:
        with self._lock:
            # Threads do not survive a fork, and a connection must not be shared over it.
            if self._running is None or self._running.pid != os.getpid():
                self._running = LoopThread(self._make)
            return self._running


class SyncProducer(Blocking[Producer]):
    """`Producer` for callers without asyncio. Methods, arguments and errors are those of `Producer`.

    Args:
        make: makes the asynchronous producer.
    """

    def __init__(self, make: Callable[[], Producer]) -> None:
        super().__init__(make)
        self._limits = make().limits  # wrong options are told here, in the caller's thread

    @classmethod
    def at(
        cls,
        redis_url: str,
        *,
        namespace: str = "fcm",
        **options: Unpack[ProducerAccess],
    ) -> Self:
        """See `Producer.at`."""
        return cls(lambda: Producer.at(redis_url, namespace=namespace, **options))

    def send(
        self,
        project: str,
        message: Message,
        *,
        tokens: Sequence[str] = (),
        lane: Lane = "normal",
        **options: Unpack[JobOptions],
    ) -> str:
        """Enqueue one job; see `Producer.send`."""
        check_place(project, lane)
        page = one(project, message, tokens, self._limits, **options)
        warn(page.cautions)
        return self._put(project, lane, page, options)[0]

    def send_many(
        self,
        project: str,
        messages: Iterable[Message],
        *,
        lane: Lane = "normal",
        **options: Unpack[JobOptions],
    ) -> list[str]:
        """Enqueue many messages, each with its own target; see `Producer.send_many`."""
        check_place(project, lane)
        page = many(project, messages, self._limits, **options)
        warn(page.cautions)
        return self._put(project, lane, page, options)

    def multicast(
        self,
        project: str,
        message: Message,
        tokens: Iterable[str],
        *,
        lane: Lane = "normal",
        progress: Callable[[Enqueued], object] | None = None,
        **options: Unpack[JobOptions],
    ) -> Enqueued:
        """Enqueue one message for any number of tokens, in constant memory; see `Producer.multicast`.

        Example:
            with SyncProducer.at(REDIS_URL) as producer:
                done = producer.multicast(PROJECT, {"data": {"sync": "1"}}, ["a", "b"], dedup_key="sync-17")
                assert done.messages == 2
        """
        check_place(project, lane)
        jobs = Multicast(project, message, self._limits, **options)
        warn(jobs.cautions)
        done = Enqueued()
        for page in pages(jobs, tokens):
            done.ids += self._put(project, lane, page, options)
            done.messages += page.messages
            if progress is not None:
                progress(done)
        if not done.messages:
            raise ValueError("tokens: empty; name at least one")
        return done

    def manage(
        self,
        project: str,
        operation: str,
        request: Mapping[str, Any],
        *,
        id: str = "",  # noqa: A002 - the name of the field
        lane: Lane = "normal",
    ) -> str:
        """Enqueue one management job; see `Producer.manage`."""
        running = self._ready()
        return running.run(running.client.manage(project, operation, request, id=id, lane=lane))

    def _put(self, project: str, lane: Lane, page: Page, options: JobOptions) -> list[str]:
        running = self._ready()
        return running.run(running.client.put(project, lane, page, options.get("deliver_at", 0.0)))
