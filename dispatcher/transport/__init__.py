"""Floor 3: how messages leave the process. The only importer of aiohttp beside `http.py`.

`wire.py` says what a transport is; `session.py` owns the connections; `batch.py`, `v1.py` and `auto.py` are the
transports; `http2*.py` carry `v1` over HTTP/2; `auth.py` is where access tokens come from. Bytes are made and read in `protocol/`, and what an
answer means is decided in `policy/`: here is only the awaiting.
"""
