from __future__ import annotations

from hashlib import sha1
from importlib.resources import files

import pytest

from dispatcher.queue.script import Script

NAMES = sorted(path.name.removesuffix(".lua") for path in (files("dispatcher.queue") / "scripts").iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_every_script_is_found_and_says_what_it_takes_and_gives(name):
    script = Script(name)
    assert script.sha == sha1(script.source.encode()).hexdigest()
    head = script.source.split("\n\n")[0]
    assert "-- KEYS" in head
    assert "-- Returns" in script.source
    assert script.source.startswith("-- ")
