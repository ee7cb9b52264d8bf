"""Feeds the decoders what no sender should send, and looks whether they keep what they promise.

    python tests/fuzz/fuzz.py --inputs 1000000 [--seed 1] [--processes 2] [--target message]

Each input is a right one (tests/golden, and the seeds below) with bytes flipped, cut, doubled, swapped, or mixed with
another. A decoder may refuse it in the way its docstring says; `PERMITTED` lists the exceptions that are part of that
way, and any other exception, or a promise broken, is a finding. Findings are printed with the input as it can be
pasted into a test; the exit code is 1. The same seed gives the same inputs, whatever the number of processes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import http2
import legacy
import orjson
import xmpp
from corpus import (
    ANSWERS,
    BATCH_ANSWERS,
    BATCH_REQUESTS,
    CONDITIONS,
    DATE,
    JOBS,
    MESSAGES,
    RETRY_AFTER,
    mutated,
    rearranged,
    wrong,
)
from services import fuzz_management_answer, fuzz_management_request
from verdicts import judged

from dispatcher.errors import MultipartError
from dispatcher.model import Fate, Job, JobState, Refusal
from dispatcher.policy.classify import classify
from dispatcher.protocol import answer, batch, batch_server, condition, job, message, multipart
from dispatcher.protocol.rules import Checks

CHUNK = 10_000
MOST_FINDINGS = 5  # of one kind: the rest are the same mistake

PERMITTED: dict[str, tuple[type[Exception], ...]] = {
    "message": (),
    "condition": (),
    "job": (),
    "multipart": (MultipartError,),  # no delimiter line at all
    "batch request": (MultipartError,),  # the same, and no boundary in the Content-Type
    "batch answer": (),
    "v1 answer": (),
    "legacy answer": (),
    "legacy call": (),
    "legacy message": (),
    "xmpp stream": (),
    "xmpp payload": (),
    "management answer": (),
    "management request": (),
    "http2": (),
}
"""All that a decoder may raise."""

# What each decoder promises. Each returns the name of what came of the input, for the counts.


def fuzz_message(rng: random.Random) -> tuple[object, Callable[[], str]]:
    raw = wrong(MESSAGES, rng)
    strict, targetless = rng.random() < 0.8, rng.random() < 0.2
    checks = Checks(rng.choice((4096, 2048, 10)), rng.random() < 0.5)
    now = rng.uniform(0, 1e10)

    def run() -> str:
        read = message.read_message(raw, strict=strict, targetless=targetless, checks=checks)
        message.target_of(raw)
        if isinstance(read, Refusal):
            assert "; " in read.reason
            return f"refused: {read.code}"
        asked = Job(
            *("1-0", "normal", "p", [b"message", raw], 0, "1-0", "normal", read.raw, read.kind),
            [read.value] if not targetless else ["t", "é"],
            targetless,
            1e9,
            rng.choice((1e9 + 60, 2e9)),
            lifetimes=read.lifetimes,
            state=JobState("1-0", "normal", 1e9, sends=1),
        )
        for body in message.bodies([asked], now):
            sent = orjson.loads(body)["message"]
            assert isinstance(sent, dict)
            assert b"\n--" not in body, "a line that could be a boundary"
            assert [sent[kind] for kind in ("token", "topic", "condition", "fid") if sent.get(kind)]
        return "read with warnings" if read.warnings else "read"

    return (raw, strict, targetless, checks, now), run


def fuzz_condition(rng: random.Random) -> tuple[object, Callable[[], str]]:
    text = mutated(rng.choice(CONDITIONS), CONDITIONS, rng).decode("utf-8", "replace")

    def run() -> str:
        read = condition.parse(text)
        if isinstance(read, condition.Misread):
            return "misread"
        assert isinstance(read.evaluate({"a"}), bool)
        assert 1 <= len(read.topics) <= condition.TOPICS_LIMIT
        return "read"

    return text, run


def fuzz_job(rng: random.Random) -> tuple[object, Callable[[], str]]:
    fields = list(rng.choice(JOBS))
    others = [value for entry in JOBS for value in entry]
    named = fields[::2]
    for place in rng.sample(range(len(fields)), rng.choice((1, 1, 2))):
        if rng.random() < 0.2:
            fields[place] = rng.choice(others)
        elif place % 2 and named[place // 2] == b"message" and rng.random() < 0.7:
            fields[place] = rearranged(fields[place], rng)
        else:
            fields[place] = mutated(fields[place], others, rng)
    stream = rng.choice(("high", "due", "normal", "bulk"))
    limits = job.DecodeLimits(strict=rng.random() < 0.8, max_job_bytes=rng.choice((262_144, 200)))

    def run() -> str:
        read = job.decode_entry("demo", stream, "1731000000123-4", fields, limits)
        job.dead_fields(read, list(range(len(read.values))))
        if read.refusal is not None:
            return f"refused: {read.refusal.code}"
        assert read.values
        assert len(message.bodies([read], 1e9)) == len(read.values)
        state = read.state or JobState(read.entry_id, read.lane, read.enqueued_at)
        flat = [text.encode() for text in job.encode_retry_fields(read, state)]
        again = job.decode_entry("demo", "due", "1731000000124-0", flat, limits)
        if limits.max_job_bytes > 200:
            assert again.refusal is None, again.refusal
            assert (again.values, again.message, again.id) == (read.values, read.message, read.id)
        return "read"

    return (fields, stream, limits), run


def fuzz_multipart(rng: random.Random) -> tuple[object, Callable[[], str]]:
    seeds = BATCH_ANSWERS + BATCH_REQUESTS
    body = mutated(rng.choice(seeds), seeds, rng)

    def run() -> str:
        read = multipart.read(body, "b")
        assert sum(len(part.body) for part in read.parts) <= len(body)
        return "closed" if read.closed else "open"

    return body, run


def fuzz_batch_request(rng: random.Random) -> tuple[object, Callable[[], str]]:
    body = mutated(rng.choice(BATCH_REQUESTS), BATCH_REQUESTS, rng)

    def run() -> str:
        return f"{len(batch_server.decode_request('multipart/mixed; boundary=b', body))} requests"

    return body, run


def fuzz_batch_answer(rng: random.Random) -> tuple[object, Callable[[], str]]:
    body = mutated(rng.choice(BATCH_ANSWERS), BATCH_ANSWERS, rng)
    expected = rng.choice((4, 4, 4, 1, 3, 5))

    def run() -> str:
        read = batch.decode_response("multipart/mixed; boundary=b", body, expected, date=DATE)
        assert read is not None
        assert len(read.responses) == expected
        lost = 0
        for response in read.responses:
            assert bool(response.message_id) != (response.error is not None)
            if response.error is not None:
                lost += response.error.fate is Fate.UNKNOWN
                judged(response.error)
        return f"{lost} of unknown fate"

    return (body, expected), run


def fuzz_answer(rng: random.Random) -> tuple[object, Callable[[], str]]:
    body = wrong(ANSWERS, rng)
    status = rng.choice((200, 200, 204, 400, 401, 403, 404, 429, 500, 503, 302))
    retry_after = rng.choice(RETRY_AFTER)
    if retry_after and rng.random() < 0.5:
        retry_after = mutated(retry_after.encode(), [DATE.encode()], rng).decode("latin-1")
    date = rng.choice((DATE, None, mutated(DATE.encode(), [DATE.encode()], rng).decode("latin-1")))

    def run() -> str:
        read = answer.read_answer(status, retry_after, date, body)
        assert bool(read.message_id) != (read.error is not None)
        if read.error is None:
            return "accepted"
        judged(read.error)
        return f"{read.error.fate}: {classify(read.error, 'token').action}"

    return (status, retry_after, date, body), run


TARGETS: dict[str, Callable[[random.Random], tuple[object, Callable[[], str]]]] = {
    "message": fuzz_message,
    "condition": fuzz_condition,
    "job": fuzz_job,
    "multipart": fuzz_multipart,
    "batch request": fuzz_batch_request,
    "batch answer": fuzz_batch_answer,
    "v1 answer": fuzz_answer,
    "legacy answer": legacy.fuzz_answer,
    "legacy call": legacy.fuzz_call,
    "legacy message": legacy.fuzz_translation,
    "xmpp stream": xmpp.fuzz_stream,
    "xmpp payload": xmpp.fuzz_payload,
    "management answer": fuzz_management_answer,
    "management request": fuzz_management_request,
    "http2": http2.fuzz_talk,
}
SHARES = {
    "message": 19,
    "condition": 5,
    "job": 12,
    "multipart": 10,
    "batch request": 5,
    "batch answer": 10,
    "v1 answer": 9,
    "legacy answer": 6,
    "legacy call": 3,
    "legacy message": 5,
    "xmpp stream": 4,
    "xmpp payload": 4,
    "management answer": 4,
    "management request": 2,
    "http2": 2,
}
"""Of 100 inputs; all together are one million in `make fuzz`."""


class Task(NamedTuple):
    """Some inputs of one target; `number` makes them others than those of the next task."""

    target: str
    number: int
    inputs: int
    seed: int


class Result(NamedTuple):
    """What came of a task."""

    target: str
    counts: Counter[str]
    findings: list[str]
    seconds: float


def work(task: Task) -> Result:
    """Runs one task."""
    rng = random.Random(f"{task.seed}/{task.target}/{task.number}")
    make, permitted = TARGETS[task.target], PERMITTED[task.target]
    counts: Counter[str] = Counter()
    findings: list[str] = []
    started = time.perf_counter()
    for _ in range(task.inputs):
        given, run = make(rng)
        try:
            counts[run()] += 1
        except permitted as error:
            counts[f"permitted: {type(error).__name__}"] += 1
        except Exception:  # noqa: BLE001 - any at all is what is looked for
            counts["FINDING"] += 1
            if len(findings) < MOST_FINDINGS:
                findings.append(f"{task.target}: {given!r}\n{traceback.format_exc(limit=-3)}")
    return Result(task.target, counts, findings, time.perf_counter() - started)


def tasks(inputs: int, seed: int, target: str) -> list[Task]:
    """All the work, in pieces."""
    found = []
    for name, share in SHARES.items():
        if target not in ("", name):
            continue
        left = inputs if target else max(1, inputs * share // 100)
        found += [
            Task(name, number, min(CHUNK, left - number * CHUNK), seed) for number in range(-(-left // CHUNK))
        ]
    return found


def main() -> int:
    """Runs what the command line asks for; 1 if anything was found."""
    parser = argparse.ArgumentParser(description="Fuzz the decoders of dispatcher/protocol.")
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--target", choices=["", *SHARES], default="")
    asked = parser.parse_args()
    todo = tasks(asked.inputs, asked.seed, asked.target)
    counts: dict[str, Counter[str]] = {name: Counter() for name in SHARES}
    seconds: Counter[str] = Counter()
    findings: list[str] = []
    if asked.processes > 1:
        with multiprocessing.Pool(asked.processes) as pool:
            results = list(pool.imap_unordered(work, todo))
    else:
        results = [work(task) for task in todo]
    for result in results:
        counts[result.target] += result.counts
        seconds[result.target] += result.seconds
        findings += result.findings
    for name, found in counts.items():
        total = found.total()
        if total:
            each = seconds[name] / total * 1e6
            print(f"{name}: {total} inputs, {each:.0f} us each with its making")
            print("   " + "; ".join(f"{what} {count}" for what, count in found.most_common(8)))
    print(
        f"{sum(found.total() for found in counts.values())} inputs, {len(findings)} findings, seed {asked.seed}"
    )
    for finding in findings[:20]:
        print(finding, file=sys.stderr)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
