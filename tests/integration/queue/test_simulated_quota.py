"""The fleet simulation's quota and circuit (`benchmarks/simulation/shared.py`) say what the scripts say.

Both are asked the same questions from the same state, the twin at the time that the script's reply tells.
"""

from __future__ import annotations

from random import Random

import pytest

from benchmarks.simulation.shared import Shared

P = "p"
CONTROL = f"fcm:{{{P}}}:control"
QUOTA = f"fcm:{{{P}}}:quota"


async def stand(redis_client, shared, now_ms):
    """Put the twin's state where the scripts find it."""
    await redis_client.delete(CONTROL, QUOTA)
    if shared.quota is not None:
        await redis_client.set(QUOTA, f"{shared.quota[0]:.3f}:{shared.quota[1]}")
    fields = {"pause:until": shared.until, "pause:ramp": shared.ramp}
    if shared.until is not None:
        fields["pause:step"] = shared.step
    if shared.probe is not None:
        end, used, holder = shared.probe
        fields["pause:probe"] = f"{end}:{int(used)}:{holder}"
    fields = {name: value for name, value in fields.items() if value is not None}
    if fields:
        await redis_client.hset(CONTROL, mapping=fields)


async def seen(redis_client):
    """(quota, until, step, probe, ramp) as Redis has them now."""
    text = await redis_client.get(QUOTA)
    fields = {k.decode(): v.decode() for k, v in (await redis_client.hgetall(CONTROL)).items()}
    tat, _, lead = (text or b"").decode().partition(":")
    end, used, holder = (*fields.get("pause:probe", "::").split(":"), "", "")[:3]
    return (
        (float(tat), int(lead)) if text else None,
        int(fields["pause:until"]) if "pause:until" in fields else None,
        int(fields.get("pause:step", 0)),
        (int(end), used == "1", holder) if end else None,
        int(fields["pause:ramp"]) if "pause:ramp" in fields else None,
    )


def state(dice, now_us):
    """Any state that the scripts may find."""
    shared, now_ms = Shared(), now_us // 1000
    if dice.random() < 0.9:
        shared.quota = (round(now_us + dice.uniform(-2e6, 2e6), 3), dice.choice([0, 300_000, 1_500_000]))
    if dice.random() < 0.6:
        shared.until = now_ms + dice.choice([-100_000, -1_000, 30_000])
        shared.step = dice.randrange(8)
        if dice.random() < 0.5:
            claim_end = now_ms + dice.choice([-5_000, 20_000])
            shared.probe = (claim_end, dice.random() < 0.5, dice.choice(["other", "me"]))
    elif dice.random() < 0.6:
        shared.ramp = now_ms - dice.choice([-1_000, 2_000, 20_000, 50_000, 70_000])
    return shared


@pytest.mark.parametrize("seed", range(40))
async def test_the_twin_and_the_scripts_agree(queue, redis_client, seed):
    dice = Random(seed)
    seconds, micros = await redis_client.time()
    now_us = seconds * 1_000_000 + micros
    twin = state(dice, now_us)
    queue.consumer = "me"
    call = dice.choice(["grant", "grant", "grant", "pause", "claim", "close"])
    await stand(redis_client, twin, now_us // 1000)

    if call == "grant":
        n, high, per_minute = (
            dice.choice([1, 50, 500]),
            dice.random() < 0.3,
            dice.choice([600, 60_000, 600_000]),
        )
        grant = await queue.grant(P, n, high=high, per_minute=per_minute, use=0.9)
        now_us = round(grant.now * 1e6)
        reply = twin.grant(now_us, n, cost=60e6 / (per_minute * 0.9), depth=5e5, high=high, consumer="me")
        assert (grant.granted, grant.max_batch, grant.circuit) == (
            reply.granted,
            reply.largest,
            reply.circuit,
        )
        # The ramp is reckoned from a whole millisecond on either side of a microsecond.
        assert grant.wait * 1e6 == pytest.approx(reply.wait, rel=1e-4, abs=1100)
        assert grant.open_until * 1000 == pytest.approx(reply.pause_end)
    elif call == "pause":
        probe, asked = dice.random() < 0.5, dice.choice([0, 5, 4000])
        pause = await queue.pause_project(P, asked, "x", probe=probe)
        now_us = round(pause.now * 1e6)
        twin.pause(now_us, asked * 1000, probe=probe, consumer="me")
        assert pause.step == twin.step
        assert pause.until * 1000 == pytest.approx(twin.until, abs=2)
    elif call == "claim":
        assert await queue.claim_probe(P) == twin.claim(now_us, "me")
    else:
        assert await queue.close(P) == twin.close(now_us)

    quota, until, step, probe, ramp = await seen(redis_client)
    assert (quota is None) == (twin.quota is None)
    if quota is not None:
        assert quota[0] == pytest.approx(twin.quota[0], abs=1100, rel=1e-9)
    assert until == pytest.approx(twin.until, abs=2)
    assert step == twin.step
    assert (probe is None) == (twin.probe is None)
    if probe is not None:
        assert probe[1:] == twin.probe[1:]
        assert probe[0] == pytest.approx(twin.probe[0], abs=2000)
    assert ramp == pytest.approx(twin.ramp, abs=2000)
