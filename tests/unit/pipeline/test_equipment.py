"""Which HTTP a project's settings ask for."""

import pytest

from dispatcher.pipeline.equipment import make_http2
from dispatcher.settings.model import ProjectSettings


@pytest.mark.parametrize(
    ("version", "endpoint", "wire", "proxy", "http2"),
    [
        ("auto", "https://fcm.googleapis.com", "auto", "", True),
        ("auto", "https://fcm.googleapis.com", "auto", "http://proxy:3128", True),
        ("auto", "https://fcm.googleapis.com", "auto", "https://proxy:3128", False),
        ("auto", "https://gateway", "batch", "", False),
        ("auto", "https://gateway", "legacy", "", False),
        ("auto", "http://gateway", "v1", "", False),
        ("1.1", "https://fcm.googleapis.com", "v1", "", False),
        ("2", "http://gateway", "v1", "", True),
        ("2", "https://gateway", "v1", "https://proxy:3128", True),
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
    assert (make_http2(settings, print) is not None) is http2
