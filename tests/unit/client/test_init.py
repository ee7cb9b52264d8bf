"""What importing the client costs its users."""

import json
import subprocess
import sys


def test_the_client_brings_neither_an_http_client_nor_googles_libraries():
    code = (
        "import json, sys, dispatcher.client; "
        "print(json.dumps([m for m in sys.modules if m.split('.')[0] in ('aiohttp', 'google', 'requests', 'pydantic')]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
