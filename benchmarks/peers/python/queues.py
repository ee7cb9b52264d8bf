"""A Python task queue on Redis, with jobs that do nothing; runs in the queue's own environment, unmodified.

    python queues.py arq|saq|taskiq '{"redis": "unix:///...", "messages": 3000}'

Jobs carry what a push job carries. They are put in first; then a worker in this process empties the queue, and prints
what that cost: {"messages", "seconds", "cpu_s"}. 100 jobs at a time, and no results kept, where that can be set.
"""

import asyncio
import json
import sys
import time

MESSAGE = {
    "token": "bench00000000001:APA91b" + "x" * 118,
    "notification": {"title": "New message", "body": "Anna: see you at the harbour at eight?"},
    "data": {"chat": "4711", "kind": "text"},
    "android": {"priority": "high"},
}
AT_ONCE = 100
done = 0
all_done = None


def count(wanted):
    global done
    done += 1
    if done == wanted:
        all_done.set()


async def arq(given, clock):
    from arq import create_pool, func
    from arq.connections import RedisSettings
    from arq.worker import Worker

    async def job(_, message):
        count(given["messages"])

    settings = RedisSettings(unix_socket_path=given["redis"].removeprefix("unix://"))
    pool = await create_pool(settings)
    for _ in range(given["messages"]):
        await pool.enqueue_job("job", MESSAGE)
    worker = Worker(
        [func(job, name="job", keep_result=0)], redis_pool=pool, burst=True, max_jobs=AT_ONCE, poll_delay=0.01,
        handle_signals=False,
    )  # fmt: skip
    clock()
    await worker.async_run()
    return clock()


async def saq(given, clock):
    from redis.asyncio import Redis
    from saq import Worker
    from saq.queue.redis import RedisQueue

    async def job(_, *, message):
        count(given["messages"])

    queue = RedisQueue(Redis.from_url(given["redis"]))
    await queue.connect()
    for _ in range(given["messages"]):
        await queue.enqueue("job", message=MESSAGE, ttl=-1)
    worker = Worker(queue, functions=[("job", job)], concurrency=AT_ONCE)
    clock()
    task = asyncio.create_task(worker.start())
    await all_done.wait()
    took = clock()
    await worker.stop()
    await asyncio.wait([task])
    return took


async def taskiq(given, clock):
    from taskiq.receiver import Receiver
    from taskiq_redis import ListQueueBroker

    broker = ListQueueBroker(given["redis"])

    @broker.task
    async def job(message):
        count(given["messages"])

    await broker.startup()
    for _ in range(given["messages"]):
        await job.kiq(MESSAGE)
    broker.is_worker_process = True
    receiver = Receiver(broker, max_async_tasks=AT_ONCE, run_startup=False)
    finish = asyncio.Event()
    clock()
    task = asyncio.create_task(receiver.listen(finish))
    await all_done.wait()
    took = clock()
    finish.set()
    task.cancel()
    await asyncio.wait([task])
    return took


async def main():
    global all_done
    all_done = asyncio.Event()
    given = json.loads(sys.argv[2])
    last = (0.0, 0.0)

    def clock():
        nonlocal last
        now = (time.perf_counter(), time.process_time())
        before, last = last, now
        return {"messages": done, "seconds": now[0] - before[0], "cpu_s": now[1] - before[1]}

    took = await {"arq": arq, "saq": saq, "taskiq": taskiq}[sys.argv[1]](given, clock)
    if done != given["messages"]:
        sys.exit(f"{done} of {given['messages']} were done")
    print(json.dumps(took), flush=True)


asyncio.run(main())
