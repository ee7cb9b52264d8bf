"""The same primitives with nothing around them: the floor under `pipeline.py`'s batch figure.

Reads 500 entries, parses each message, packs, posts, splits the answer, parses each part, acknowledges, and records
500 outcomes in one entry. No checks, no leases, no retries, no quota, no fence, nothing recorded but success.

    python benchmarks/bare.py REDIS_URL SERVER_URL PROJECT MESSAGES
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time

import aiohttp
import orjson
import redis.asyncio
import uvloop

IN_FLIGHT = 8
GROUP = "bare"


async def main(redis_url: str, server: str, project: str, messages: int) -> None:
    client = redis.asyncio.Redis.from_url(redis_url, protocol=2)
    client.set_response_callback("XREADGROUP", lambda reply, **_: reply)
    stream = f"fcm:{{{project}}}:jobs:normal"
    await client.xgroup_create(stream, GROUP, id="0", mkstream=True)
    heads = [
        b"\r\n--bare\r\nContent-Type: application/http\r\nContent-ID: %d\r\n\r\n"
        b"POST /v1/projects/%b/messages:send HTTP/1.1\r\nContent-Type: application/json\r\n\r\n"
        % (n, project.encode())
        for n in range(1, 501)
    ]
    done = 0
    lock = asyncio.Lock()

    async def lane(session: aiohttp.ClientSession) -> None:
        nonlocal done
        while True:
            async with lock:
                reply = await client.xreadgroup(GROUP, "bare", {stream: ">"}, count=500)
            if not reply:
                return
            entries = reply[0][1]
            bodies = []
            for _, fields in entries:
                orjson.loads(fields[1])
                bodies.append(b'{"message":' + fields[1] + b"}")
            parts = [piece for pair in zip(heads, bodies, strict=False) for piece in pair]
            payload = b"".join([*parts, b"\r\n--bare--\r\n"])
            headers = {"Content-Type": "multipart/mixed; boundary=bare"}
            async with session.post(server + "/batch", data=payload, headers=headers) as answer:
                body = await answer.read()
            names = [
                orjson.loads(part[part.index(b"\r\n\r\n", part.index(b"\r\n\r\n") + 4) + 4 :])["name"]
                for part in body.split(b"--batch_bench")[1:-1]
            ]
            ids = [entry_id for entry_id, _ in entries]
            outcomes = orjson.dumps(
                [
                    {"job": entry_id.decode(), "status": "accepted", "message_id": name}
                    for entry_id, name in zip(ids, names, strict=True)
                ]
            )
            async with client.pipeline(transaction=True) as pipe:
                pipe.xack(stream, GROUP, *ids)
                pipe.xdel(stream, *ids)
                pipe.xadd(f"fcm:{{{project}}}:outcomes", {"outcomes": outcomes})
                await pipe.execute()
            done += len(ids)

    async with aiohttp.ClientSession() as session:
        started, cpu = time.perf_counter(), cpu_s()
        await asyncio.gather(*[lane(session) for _ in range(IN_FLIGHT)])
        took, cpu = time.perf_counter() - started, cpu_s() - cpu
    assert done == messages, f"{done} of {messages}"
    print(json.dumps({"msg_per_s": done / took, "cpu_us": cpu / done * 1e6}))
    await client.aclose()


def cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
