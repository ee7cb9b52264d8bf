"""Answers of a batch that are damaged on the way: what can be read counts, the rest is sent again and marked."""

import pytest

TOKENS = ["a", "b", "c", "d", "e"]
ANSWER = '{{"name": "projects/demo-orchard-41/messages/{}"}}'


def part(number: object, content_id: str | None, *, end: str = "\r\n") -> str:
    lines = ["--b", "Content-Type: application/http"]
    if content_id is not None:
        lines.append(f"Content-ID: <response-{content_id}>")
    lines += ["", "HTTP/1.1 200 OK", "Content-Type: application/json", "", ANSWER.format(number), ""]
    return end.join(lines)


async def five(desk) -> None:
    for token in TOKENS:
        await desk.add(message={"token": token}, id=token)


async def settled(desk) -> dict[str, dict]:
    outcomes = {o["job"]: o for o in await desk.outcomes(5)}
    assert {o["status"] for o in outcomes.values()} == {"accepted"}
    return outcomes


def repeated(outcomes) -> set[str]:
    """Jobs sent twice; each of them is marked, and no other."""
    twice = {job for job, o in outcomes.items() if o["attempts"] == 2}
    assert twice == {job for job, o in outcomes.items() if o.get("possible_duplicate")}
    assert {o["attempts"] for o in outcomes.values()} <= {1, 2}
    return twice


async def test_shuffled_parts_are_told_apart_by_their_ids(serve, desk, emulator):
    emulator.put("tokens", project=desk.project, tokens={"b": "unregistered", "d": "wrong-sender"})
    emulator.script({"per": "request", "wire": "batch", "parts": "shuffle"}, seed=7)
    await five(desk)
    await serve()
    outcomes = {o["job"]: o["status"] for o in await desk.outcomes(5)}
    assert outcomes == {
        "a": "accepted",
        "b": "invalid_token",
        "c": "accepted",
        "d": "wrong_project",
        "e": "accepted",
    }
    assert len(emulator.arrivals()) == 5


@pytest.mark.parametrize("seed", range(3))
async def test_a_missing_part_is_sent_again(seed, serve, desk, emulator):
    emulator.script({"per": "request", "wire": "batch", "parts": "drop", "times": 1}, seed=seed)
    await five(desk)
    await serve()
    assert len(repeated(await settled(desk))) == 1
    assert len(emulator.arrivals()) == 6


@pytest.mark.parametrize("seed", range(3))
async def test_a_duplicated_part_is_nobodys_answer(seed, serve, desk, emulator):
    emulator.script({"per": "request", "wire": "batch", "parts": "duplicate", "times": 1}, seed=seed)
    await five(desk)
    await serve()
    assert len(repeated(await settled(desk))) == 1
    assert len(emulator.arrivals()) == 6


@pytest.mark.parametrize("keep", [0, 100, 300, 700, 900, 1200])
async def test_a_truncated_answer_counts_as_far_as_it_goes(keep, serve, desk, emulator):
    emulator.script({"per": "request", "wire": "batch", "truncate": keep, "times": 1})
    await five(desk)
    await serve()
    again = repeated(await settled(desk))
    assert again
    assert again == set(TOKENS[-len(again) :])  # the last ones: what came before was read
    if keep >= 700:
        assert len(again) < 5
    assert len(emulator.arrivals()) == 5 + len(again)


@pytest.mark.parametrize("end", ["\r\n", "\n"])
async def test_line_ends_of_either_kind(end, serve, desk, emulator):
    body = "".join(part(n, None, end=end) for n in range(5)) + f"--b--{end}"
    await _answer(emulator, body)
    await five(desk)
    await serve()
    outcomes = await settled(desk)
    assert repeated(outcomes) == set()
    names = [outcomes[job]["message_id"].rpartition("/")[2] for job in TOKENS]
    assert names == ["0", "1", "2", "3", "4"]


async def test_an_answer_without_its_last_delimiter(serve, desk, emulator):
    await _answer(emulator, "".join(part(n, None) for n in range(5)))
    await five(desk)
    await serve()
    assert repeated(await settled(desk)) == set()


async def test_ids_that_were_never_sent_belong_to_nobody(serve, desk, emulator):
    await _answer(emulator, "".join(part(n, f"x+{n + 90}") for n in range(4)) + "--b--\r\n")
    await five(desk)
    await serve()
    assert repeated(await settled(desk)) == set(TOKENS)


async def test_html_with_200_is_no_answer(serve, desk, emulator):
    page = "<html><body>Welcome to the hotel network</body></html>"
    emulator.script({"per": "request", "wire": "batch", "status": 200, "body": page, "times": 1})
    await five(desk)
    await serve()
    assert repeated(await settled(desk)) == set(TOKENS)


async def test_a_batch_that_is_too_large_is_halved_until_it_fits(serve, desk, emulator):
    emulator.script({"per": "request", "wire": "batch", "status": 413, "times": 2})
    await five(desk)
    await serve()
    outcomes = await settled(desk)
    assert repeated(outcomes) == set()
    assert len(emulator.arrivals()) == 5


async def _answer(emulator, body: str) -> None:
    rule = {"per": "request", "wire": "batch", "status": 200, "body": body, "times": 1}
    emulator.script({**rule, "content_type": "multipart/mixed; boundary=b"})
