"""HTTP/2 against servers that other people wrote: nginx, nghttpd, node, and the emulator's granian."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from dispatcher.model import Fate
from dispatcher.transport import http2_pool
from dispatcher.transport.http2 import Http2Transport
from dispatcher.transport.route import Route
from dispatcher.transport.session import Session
from dispatcher.transport.v1 import MOST_AT_ONCE, V1Transport
from dispatcher.transport.wire import Timeouts

NAME = "projects/demo/messages/0:1"
ANSWER = f'{{"name":"{NAME}"}}'
SEEN: Counter[tuple[str, int]] = Counter()


def observe(wire: str, status: int, durations: list[float]) -> None:
    SEEN[wire, status] += len(durations)


@pytest.fixture
def pool(http2_to):
    """`pool(url, **options)`: an `Http2Transport`, closed at the end."""
    SEEN.clear()
    return lambda url, **options: http2_to(url, observe, **{"links": 10} | options)


async def send(transport, batch, at_once: int = 1000):
    return await transport.send(batch, "ya29.token", now=0.0, at_once=at_once)


def fates(responses) -> Counter[str]:
    return Counter(response.error.fate if response.error else "accepted" for response in responses)


# nginx.


@pytest.fixture
def nginx(program, running, certificate, free_port, tmp_path):
    """`with nginx("http2_max_concurrent_streams 1;") as url`."""
    binary = program("nginx")

    def start(settings: str = "", *, listen: str = "ssl http2", location: str = ""):
        (tmp_path / "nginx.conf").write_text(
            f"""
            worker_processes 1; daemon off; pid {tmp_path}/pid; error_log {tmp_path}/error.log;
            events {{ worker_connections 1024; }}
            http {{
              access_log off;
              client_body_temp_path {tmp_path}/body; proxy_temp_path {tmp_path}/proxy;
              fastcgi_temp_path {tmp_path}/f; uwsgi_temp_path {tmp_path}/u; scgi_temp_path {tmp_path}/s;
              {settings}
              server {{
                listen 127.0.0.1:{free_port} {listen};
                ssl_certificate {certificate.cert}; ssl_certificate_key {certificate.key};
                location / {{ default_type application/json; {location or f"return 200 '{ANSWER}'"}; }}
              }}
            }}
            """
        )
        return running([binary, "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")], free_port)

    start.port = free_port
    start.url = f"https://localhost:{free_port}"
    return start


async def test_nginx_ten_thousand_messages_over_a_few_handshakes(nginx, pool, batch_of) -> None:
    with nginx("keepalive_requests 100000;"):
        transport = pool(nginx.url, links=34)
        for _ in range(20):
            responses = await send(transport, batch_of(*map(str, range(500))))
            assert fates(responses) == {"accepted": 500}
            assert responses[0].message_id == NAME
        assert SEEN == {("v1", 200): 10_000}
        assert transport.pool.opened <= 10


@pytest.mark.parametrize(
    "settings",
    [
        "http2_max_concurrent_streams 1;",
        "http2_body_preread_size 0;",  # announces windows of 0 and opens each by itself
        "keepalive_requests 50;",  # says goodbye after every 50
        "http2_max_concurrent_streams 1; http2_body_preread_size 0; keepalive_requests 7;",
    ],
)
async def test_nginx_whatever_it_announces_every_message_arrives(
    nginx, pool, batch_of, settings: str
) -> None:
    with nginx(settings):
        transport = pool(nginx.url)
        for _ in range(3):
            responses = await send(transport, batch_of(*map(str, range(100))))
            assert fates(responses) == {"accepted": 100}


async def test_nginx_refusals_are_read_with_their_headers(nginx, pool, batch_of) -> None:
    location = 'add_header Retry-After 17 always; return 429 \'{"error":{"code":429}}\''
    with nginx(location=location):
        (response,) = await send(pool(nginx.url), batch_of("a"))
    assert (response.error.fate, response.error.http_status) == (Fate.ANSWERED, 429)
    assert response.error.retry_after == 17


async def test_nginx_large_messages_go_out_in_pieces(nginx, pool, batch_of) -> None:
    with nginx("client_max_body_size 10m; client_body_buffer_size 16k;"):
        responses = await send(pool(nginx.url), batch_of(*"abcdefgh", pad="x" * 200_000))
        assert fates(responses) == {"accepted": 8}


async def test_nginx_without_http2_is_spoken_to_over_http1(nginx, pool, batch_of, certificate) -> None:
    with nginx(listen="ssl"):
        transport = pool(nginx.url)
        async with Session(Route(ca_file=str(certificate.cert))) as session:
            v1 = V1Transport(session, nginx.url, Timeouts(), observe, transport)
            assert v1.carrier == "v1-h2"
            assert fates(await send(v1, batch_of(*map(str, range(100))))) == {"accepted": 100}
            assert (transport.pool.opened, transport.lacks_http2(), v1.carrier) == (0, True, "v1")
            # It was granted streams, and each would be a connection.
            assert 0 < session.connections <= MOST_AT_ONCE
            assert fates(await send(v1, batch_of(*"abc"))) == {"accepted": 3}
    assert SEEN == {("v1", 200): 103}


async def test_nginx_that_has_http2_later_is_asked_beside_the_messages(
    nginx, pool, batch_of, certificate, monkeypatch
) -> None:
    monkeypatch.setattr(http2_pool, "HTTP11_FOR_S", 0.05)
    async with Session(Route(ca_file=str(certificate.cert))) as session:
        with nginx(listen="ssl"):
            transport = pool(nginx.url)
            v1 = V1Transport(session, nginx.url, Timeouts(), observe, transport)
            assert fates(await send(v1, batch_of("a"))) == {"accepted": 1}
            asked = transport.pool._asking
            async with asyncio.timeout(20):  # it is asked, and says no, and is going to be asked again
                while transport.pool._asking is asked:
                    assert v1.carrier == "v1"
                    assert fates(await send(v1, batch_of("a"))) == {"accepted": 1}
        # Nobody is there: that tells nothing.
        async with asyncio.timeout(20):
            asked = transport.pool._asking
            while transport.pool._asking is asked:
                assert v1.carrier == "v1"
                await asyncio.sleep(0)
        with nginx(listen="ssl http2"):
            async with asyncio.timeout(20):
                while v1.carrier == "v1":
                    assert fates(await send(v1, batch_of("a"))) == {"accepted": 1}
            assert fates(await send(v1, batch_of(*"abc"))) == {"accepted": 3}
            assert (transport.pool.opened, transport.pool.connections) == (1, 1)
    assert {status for _, status in SEEN} == {200}


async def test_nginx_without_http2_gets_nothing_where_only_http2_will_do(nginx, pool, batch_of) -> None:
    with nginx(listen="ssl"):
        transport = pool(nginx.url, only=True)
        responses = await send(transport, batch_of(*"abc"))
        assert fates(responses) == {Fate.NOT_SENT: 3}
        assert "HTTP/2" in responses[0].error.reason
        assert not transport.lacks_http2()


async def test_nginx_without_tls_by_prior_knowledge(nginx, pool, batch_of) -> None:
    with nginx(listen="http2"):
        transport = pool(f"http://localhost:{nginx.port}", only=True)
        assert fates(await send(transport, batch_of(*map(str, range(200))))) == {"accepted": 200}


async def test_nginx_without_http2_or_tls_is_no_http2_server(nginx, pool, batch_of) -> None:
    with nginx(listen=""):
        responses = await send(pool(f"http://localhost:{nginx.port}", only=True), batch_of("a"))
        assert fates(responses) == {Fate.NOT_SENT: 1}


async def test_an_unknown_certificate_stops_everything_unsent(nginx, pool, batch_of) -> None:
    with nginx():
        (response,) = await send(pool(nginx.url, route=Route()), batch_of("a"))
        assert response.error.fate is Fate.NOT_SENT
        assert "not trusted" in response.error.reason
        assert "DISPATCHER_CA_FILE" in response.error.reason
        (response,) = await send(pool(nginx.url, route=Route(verify=False)), batch_of("a"))
        assert response.message_id == NAME


async def test_nobody_there_is_told_to_everybody_who_waits(pool, batch_of, free_port: int) -> None:
    transport = pool(f"https://localhost:{free_port}")
    responses = await send(transport, batch_of(*"abc"))
    assert fates(responses) == {Fate.NOT_SENT: 3}
    assert "refused" in responses[0].error.reason.lower()
    assert SEEN == {("v1", 0): 3}


# nghttpd.


@pytest.mark.parametrize(
    "options",
    [[], ["-m", "1"], ["-w", "5", "-W", "10"], ["-b", "200"], ["--header-table-size=0"], ["-t", "x-t: 1"]],
    ids=str,
)
async def test_nghttpd(
    program, running, certificate, free_port, tmp_path: Path, pool, batch_of, options: list[str]
) -> None:
    # Streams, windows of 32 bytes and 1 KB, padding, no table, trailers.
    options = [o if o != "x-t: 1" else "--trailer=x-t: 1" for o in options if o != "-t"]
    folder = tmp_path / "v1" / "projects" / "demo"
    folder.mkdir(parents=True)
    (folder / "messages:send").write_text(ANSWER)
    command = [program("nghttpd"), "-a", "127.0.0.1", "-d", str(tmp_path), *options, str(free_port)]
    with running([*command, str(certificate.key), str(certificate.cert)], free_port):
        responses = await send(pool(f"https://localhost:{free_port}"), batch_of(*map(str, range(400))))
    assert fates(responses) == {"accepted": 400}
    assert responses[0].message_id == NAME


# node.

NODE = """
const http2 = require('http2'), fs = require('fs'), c = http2.constants;
const [cert, key, port, how] = process.argv.slice(2);
const server = http2.createSecureServer({
  cert: fs.readFileSync(cert), key: fs.readFileSync(key), allowHTTP1: how === 'http1',
  settings: how === 'few' ? {maxConcurrentStreams: 3, initialWindowSize: 10} : {},
});
let count = 0;
if (how === 'http1') server.on('request', (request, answer) => {
  if (request.httpVersion === '1.1') { request.resume(); request.on('end', () => answer.end('ANSWER')); }
});
server.on('sessionError', () => {});
server.on('stream', (stream, headers) => {
  count += 1;
  stream.on('error', () => {});
  if (how === 'refuse' && count % 3 === 0) return stream.close(c.NGHTTP2_REFUSED_STREAM);
  if (how === 'reset' && count % 3 === 0) return stream.close(c.NGHTTP2_INTERNAL_ERROR);
  if (how === 'http1') return stream.close(c.NGHTTP2_HTTP_1_1_REQUIRED);
  if (how === 'interim') stream.additionalHeaders({':status': 103, link: '<x>'});
  let body = '';
  stream.on('data', (piece) => body += piece);
  stream.on('end', () => {
    JSON.parse(body);
    stream.respond({':status': 200, 'content-type': 'application/json'}, {waitForTrailers: how === 'trailers'});
    stream.on('wantTrailers', () => stream.sendTrailers({'x-sum': 'abc'}));
    stream.end('ANSWER');
    if (how === 'goaway' && count % 40 === 0) stream.session.close();
  });
});
server.listen(Number(port), '127.0.0.1');
"""


@pytest.fixture
def node(program, running, certificate, free_port, tmp_path):
    """`with node("refuse")`."""
    binary = program("node")

    def start(how: str):
        script = tmp_path / "server.js"
        script.write_text(NODE.replace("ANSWER", ANSWER))
        return running(
            [binary, str(script), str(certificate.cert), str(certificate.key), str(free_port), how], free_port
        )

    start.url = f"https://localhost:{free_port}"
    return start


@pytest.mark.parametrize("how", ["plain", "few", "interim", "trailers", "goaway"])
async def test_node(node, pool, batch_of, how: str) -> None:
    with node(how):
        transport = pool(node.url)
        for _ in range(2):
            assert fates(await send(transport, batch_of(*map(str, range(300))))) == {"accepted": 300}


async def test_node_refused_streams_go_out_again(node, pool, batch_of) -> None:
    with node("refuse"):
        # Every third of all: some are refused five times over, and are not sent for now.
        found = fates(await send(pool(node.url), batch_of(*map(str, range(300)))))
        assert set(found) <= {"accepted", Fate.NOT_SENT}
        assert found["accepted"] > 280


async def test_node_reset_streams_are_of_unknown_fate_and_nobody_elses(node, pool, batch_of) -> None:
    with node("reset"):
        found = fates(await send(pool(node.url), batch_of(*map(str, range(300)))))
        assert found == {"accepted": 200, Fate.UNKNOWN: 100}


async def test_node_that_asks_for_http1_gets_it(node, pool, batch_of, certificate) -> None:
    with node("http1"):
        transport = pool(node.url)
        async with Session(Route(ca_file=str(certificate.cert))) as session:
            v1 = V1Transport(session, node.url, Timeouts(), observe, transport)
            for _ in range(2):
                assert fates(await send(v1, batch_of(*map(str, range(20))))) == {"accepted": 20}
    assert transport.lacks_http2()
    assert transport.pool.opened == 1


# The emulator: granian.


async def test_the_emulator_judges_each_message(tls_emulator, pool, batch_of) -> None:
    tls_emulator.put("faults", auth="any")
    tls_emulator.put("tokens", project="demo", prefixes={"gone": "unregistered"})
    values = [f"{'gone' if n % 3 else 'good'}{n}" for n in range(300)]
    transport = pool(tls_emulator.url)
    responses = await send(transport, batch_of(*values))
    for value, response in zip(values, responses, strict=True):
        assert (response.error.fcm_code if response.error else "") == (
            "UNREGISTERED" if "gone" in value else ""
        )
    assert SEEN == {("v1", 200): 100, ("v1", 404): 200}
    assert tls_emulator.get("summary")["requests"] == {"v1": 300}


@pytest.mark.parametrize(
    ("rule", "fate", "status"),
    [
        ({"delay": 5.0}, Fate.UNKNOWN, 0),
        ({"error": "UNREGISTERED", "truncate": 30}, Fate.UNKNOWN, 404),
        ({"error": "UNAVAILABLE", "retry_after": 3, "retry_after_form": "date"}, Fate.ANSWERED, 503),
        ({"status": 404}, Fate.ANSWERED, 404),
        ({"status": 200}, Fate.UNKNOWN, 200),
    ],
    ids=str,
)
async def test_the_emulators_faults_are_each_messages_own(
    tls_emulator, pool, batch_of, rule, fate, status: int
) -> None:
    tls_emulator.put("faults", auth="any", rules=[{"target": "b", "wire": "v1", **rule}])
    responses = await send(pool(tls_emulator.url, timeout_s=1.0), batch_of(*"abc"))
    assert [bool(response.message_id) for response in responses] == [True, False, True]
    assert (responses[1].error.fate, responses[1].error.http_status) == (fate, status)


async def test_two_projects_share_connections_and_the_slow_one_keeps_within_its_part(
    tls_emulator, pool, batch_of
) -> None:
    tls_emulator.put("faults", auth="any", rules=[{"target": "slow", "wire": "v1", "delay": 30.0}])
    slow = pool(tls_emulator.url, links=1, timeout_s=10.0)
    quick = Http2Transport(slow.pool, tls_emulator.url, Timeouts(), observe)
    held = [asyncio.ensure_future(send(slow, batch_of(*["slow"] * 50))) for _ in range(3)]
    await asyncio.sleep(0)
    for _ in range(3):
        assert fates(await send(quick, batch_of(*"abcdef"))) == {"accepted": 6}
    assert not any(each.done() for each in held)
    assert len(slow.pool._running) == 3  # what is answered is not kept behind what is not
    slow.pool.cut_off()
    # 20 streams, of which a project has eight ninths.
    assert sum(map(fates, await asyncio.gather(*held)), Counter()) == {Fate.UNKNOWN: 17, Fate.NOT_SENT: 133}
    assert slow.pool.opened == 1
