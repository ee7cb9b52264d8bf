"""What a project's settings ask for: which HTTP, and what XMPP cannot do without."""

import subprocess
import sys

import pytest

from dispatcher.errors import SettingsError
from dispatcher.pipeline.equipment import make_http2, make_xmpp
from dispatcher.settings.model import ProjectSettings
from dispatcher.transport.sessions import Sessions


@pytest.mark.parametrize(
    ("version", "endpoint", "wire", "proxy", "http2"),
    [
        ("auto", "https://fcm.googleapis.com", "auto", "", True),
        ("auto", "https://fcm.googleapis.com", "auto", "http://proxy:3128", True),
        ("auto", "https://fcm.googleapis.com", "auto", "https://proxy:3128", False),
        ("auto", "https://gateway", "batch", "", False),
        ("auto", "https://gateway", "legacy", "", False),
        ("auto", "https://gateway", "xmpp", "", False),
        ("auto", "http://gateway", "v1", "", False),
        ("1.1", "https://fcm.googleapis.com", "v1", "", False),
        ("2", "http://gateway", "v1", "", True),
        ("2", "https://gateway", "v1", "http://proxy:3128", True),
        ("2", "https://gateway", "batch", "https://proxy:3128", False),
    ],
)
def test_http2_is_spoken_over_tls_and_where_it_is_asked_for(
    version: str, endpoint: str, wire: str, proxy: str, http2: bool
) -> None:
    settings = ProjectSettings(
        id="p",
        http_version=version,
        fcm_endpoint=endpoint,
        transport=wire,
        **({"proxy": proxy} if proxy else {}),
    )
    assert (make_http2(settings, Sessions(), print) is not None) is http2


@pytest.mark.parametrize("wire", ["auto", "v1"])
@pytest.mark.parametrize("endpoint", ["https://gateway", "http://gateway"])
def test_nothing_but_http2_through_a_tls_proxy_is_refused(wire: str, endpoint: str) -> None:
    settings = ProjectSettings(
        id="p", http_version="2", fcm_endpoint=endpoint, transport=wire, proxy="https://u:secret@proxy:3128"
    )
    with pytest.raises(SettingsError) as refused:
        make_http2(settings, Sessions(), print)
    told = str(refused.value)
    assert told.startswith("DISPATCHER_PROXY is https://proxy:3128 for p, and DISPATCHER_HTTP_VERSION=2 ")
    assert "DISPATCHER_HTTP_VERSION=auto" in told
    assert "\n" not in told


async def test_xmpp_is_made_of_a_sender_id() -> None:
    settings = ProjectSettings(id="p", transport="xmpp", sender_id="884400112233")
    assert make_xmpp(settings, print).name == "xmpp"


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({}, "DISPATCHER_SENDER_ID is not set for p"),
        ({"sender_id": "1", "proxy": "http://p:1"}, "DISPATCHER_PROXY is set for p"),
    ],
)
def test_without_a_sender_id_or_with_a_proxy_xmpp_is_refused(values: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        make_xmpp(ProjectSettings(id="p", transport="xmpp", **values), print)


_WITHOUT_EXTRA = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "slixmpp":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "slixmpp" else real(name, package)
import dispatcher.worker
from dispatcher.errors import SettingsError
from dispatcher.pipeline.equipment import make_xmpp
from dispatcher.settings.model import ProjectSettings
try:
    make_xmpp(ProjectSettings(id="p", transport="xmpp", sender_id="1"), print)
except SettingsError as error:
    print(error)
"""


def test_a_worker_without_the_extra_runs_and_names_it_where_it_is_needed() -> None:
    ran = subprocess.run([sys.executable, "-c", _WITHOUT_EXTRA], capture_output=True, text=True, check=False)
    assert ran.stdout == "DISPATCHER_TRANSPORT=xmpp needs its extra: pip install 'fcm-dispatcher[xmpp]'\n", (
        ran.stderr
    )
