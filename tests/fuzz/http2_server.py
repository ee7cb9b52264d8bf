"""All that an HTTP/2 server may say to a client that sends messages, honest, rude or garbled.

A talk is a list of what the server says, a frame an item, and between them of what the client does: `BEGIN` a request,
`ASK` for a sign of life, or cancel the stream of that number.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import hpack
from corpus import ANSWERS, DATE, RETRY_AFTER

from dispatcher.protocol.answer import success_body
from dispatcher.protocol.http2 import frames
from dispatcher.protocol.http2.frames import ErrorCode, Setting

BEGIN = 0
ASK = -1
Talk = list[bytes | int]
Field = tuple[bytes, bytes]

STATUSES = [b"200", b"200", b"200", b"204", b"400", b"404", b"429", b"503"]
BODIES = [success_body("projects/p/messages/0:1%f"), *ANSWERS, b"", b"x" * 20_000]
VALUES = [
    *(b"", b" ", b" 1", b"1\t", b" " * 20 + b"1", b"-1", b"+2", b"0_2", b"2, 2", b"9" * 25, b"0" * 5000),
    *(
        "²".encode(),
        "٢".encode(),
        b"\xb2",
        b"\0",
        b"a\r\nb: c",
        b"x" * 300,
        b"\x1b[2J",
        b"200",
        b"99",
        b"1e9",
    ),
    *(
        b"Sun, 06 Nov 1994 25:61:61 GMT",
        b"1 Jan 0000",
        b"1 Jan 9999 23:59:59 -9999",
        b"Sun, , GMT",
        b"9" * 5000,
    ),
]
NAMES = [
    *(b":status", b":path", b"content-length", b"retry-after", b"date", b"content-type", b"x"),
    *(b"", b"Upper", b"a:b", b" a", b"\xff", b"connection", b"transfer-encoding", b"te"),
]
CODES = [*range(14), 77, 2**32 - 1]


def _large_block() -> bytes:
    encoder = hpack.Encoder()
    encoder.header_table_size = 0
    block: bytes = encoder.encode([(b":status", b"404"), (b"a", b"a" * 20_000)])
    return block


HOSTILE = [
    *(frames.window_update(stream, frames.MAX_WINDOW) for stream in (0, 1, 3)),
    frames.window_update(0, 0),
    frames.settings({Setting.INITIAL_WINDOW_SIZE: frames.MAX_WINDOW}),
    frames.settings({Setting.INITIAL_WINDOW_SIZE: 0, Setting.MAX_CONCURRENT_STREAMS: 0}),
    frames.settings({Setting.ENABLE_PUSH: 1}),
    frames.frame(frames.GOAWAY, 0, 0, (1).to_bytes(4, "big") + bytes(4)),
    frames.frame(frames.GOAWAY, 0, 0, (5).to_bytes(4, "big") + bytes(4)),
    *(frames.frame(frames.HEADERS, frames.END_HEADERS, stream, _large_block()) for stream in (1, 3, 5)),
    *(frames.frame(frames.DATA, 0, stream, bytes(16_384)) * 17 for stream in (1, 3)),
    frames.frame(frames.HEADERS, 0, 3, bytes(16_384))
    + frames.frame(frames.CONTINUATION, 0, 3, bytes(16_384)),
    frames.frame(frames.CONTINUATION, 0, 3, b"x"),
]
"""What an honest server never says, or not without need."""


class Server:
    """Says what an honest server may say; a rude one is honest but for its header fields."""

    def __init__(self, chance: random.Random, *, rude: bool = False) -> None:
        self.talk: Talk = []
        self.answers: dict[int, tuple[int, bytes]] = {}
        self.touched = 0
        self.last = frames.MAX_STREAM_ID
        self.leaves = False
        self._chance = chance
        self._rude = rude
        self._encoder = hpack.Encoder()
        # Once: with the size after the acknowledgement it is told twice at most (RFC 7541, 4.2).
        self._table = chance.choice((4096, 4096, 1000, 50))

    def say(self, kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> None:
        self.touched = max(self.touched, stream)
        self.talk.append(frames.frame(kind, flags, stream, payload))

    def settle(self, values: dict[Setting, int]) -> None:
        self.talk.append(frames.settings(values))

    def acknowledge(self) -> None:
        """From here on no block builds on another."""
        self.say(frames.SETTINGS, frames.ACK)
        self._encoder.header_table_size = 0

    def control(self, begun: int) -> None:
        """Something that may be said at any time."""
        chance = self._chance
        stream = 2 * chance.randrange(begun) + 1 if begun else 0
        match chance.randrange(8):
            case 0:
                self.say(frames.PING, 0, 0, chance.randbytes(8))
            case 1:
                self.talk.append(ASK)
                self.say(frames.PING, frames.ACK, 0, b"dispatch")
            case 2:
                self.say(frames.PRIORITY, 0, 2 * begun + 1, bytes(5))
            case 3:
                self.say(chance.choice((10, 12, 77, 255)), 255, 0, chance.randbytes(9))
            case 4:
                self.settle({Setting.INITIAL_WINDOW_SIZE: chance.choice((0, 20, 60, 65_535))})
            case 5:
                self.settle({Setting.HEADER_TABLE_SIZE: chance.choice((0, 100, 4096, 65_536))})
            case 6:
                self.settle({Setting.MAX_FRAME_SIZE: chance.choice((16_384, 20_000))})
            case 7:
                self.say(frames.WINDOW_UPDATE, 0, stream, chance.randrange(1, 500).to_bytes(4, "big"))

    def reset(self, stream: int) -> None:
        code = self._chance.choice(CODES)
        self.leaves |= code == ErrorCode.HTTP_1_1_REQUIRED
        self.say(frames.RST_STREAM, 0, stream, code.to_bytes(4, "big"))

    def goodbye(self, begun: int) -> None:
        """In two steps or more: no more requests, then which were processed (6.8)."""
        if not self.leaves or self._chance.random() < 0.3:
            self.leaves = True
        else:
            self.last = min(self.last, max(self.touched, 2 * self._chance.randrange(begun + 1) + 1))
        self.say(frames.GOAWAY, 0, 0, self.last.to_bytes(4, "big") + bytes(4) + b"bye")

    def answer(self, stream: int) -> Iterator[None]:
        """The answer to one request, in steps between which others may come."""
        chance = self._chance
        if chance.random() < 0.4:
            self.say(frames.WINDOW_UPDATE, 0, stream, chance.choice((1, 20, 1000)).to_bytes(4, "big"))
            yield
        for _ in range(chance.choice((0, 0, 0, 1, 2))):
            self._block(stream, [(b":status", chance.choice((b"100", b"103"))), (b"link", b"</x>")])
            yield
        if chance.random() < 0.1:
            self.reset(stream)
            return
        status, body = chance.choice(STATUSES), chance.choice(BODIES)
        trailers = chance.random() < 0.2
        yield from self._whole(stream, status, body, trailers=trailers)
        if stream in self.answers and chance.random() < 0.1:
            self.say(frames.RST_STREAM, 0, stream, bytes(4))  # "the rest of your request is not needed" (8.1)

    def _whole(self, stream: int, status: bytes, body: bytes, *, trailers: bool) -> Iterator[None]:
        chance = self._chance
        fields = [(b":status", status), (b"content-type", b"application/json"), (b"x-id", b"%d" % stream)]
        if chance.random() < 0.5:
            fields.append((b"content-length", b"%d" % len(body)))
        if chance.random() < 0.5:
            fields.append((b"date", DATE.encode()))
        after = chance.choice(RETRY_AFTER)
        if after is not None:
            fields.append((b"retry-after", after.encode()))
        self._block(stream, fields, last=not body and not trailers)
        yield
        at = 0
        while at < len(body):
            piece = body[at : at + chance.choice((1, 50, 16_000))] if at < 100 else body[at : at + 16_000]
            at += len(piece)
            self._data(stream, piece, last=at == len(body) and not trailers)
            yield
            if at < len(body) and chance.random() < 0.05:
                self.reset(stream)
                return
        if trailers:
            self._block(stream, [(b"x-checked", b"yes")], last=True)
        self.answers[stream] = (int(status), body)

    def _data(self, stream: int, piece: bytes, *, last: bool) -> None:
        chance = self._chance
        flags = frames.END_STREAM if last else 0
        if chance.random() < 0.05:
            self.say(frames.DATA, 0, stream, b"")
        if chance.random() < 0.2:
            flags |= frames.PADDED
            padding = bytes(chance.choice((0, 1, 255)))
            piece = bytes([len(padding)]) + piece + padding
        self.say(frames.DATA, flags, stream, piece)

    def _block(self, stream: int, fields: list[Field], *, last: bool = False) -> None:
        chance = self._chance
        if self._rude and chance.random() < 0.3:
            fields = _rude(fields, chance)
        if self._table != self._encoder.header_table_size and self._encoder.header_table_size:
            self._encoder.header_table_size = self._table
        block = self._encoder.encode(fields, huffman=chance.random() < 0.7)
        flags = frames.END_STREAM if last else 0
        cuts = sorted(chance.randrange(len(block) + 1) for _ in range(chance.choice((0, 0, 0, 1, 3))))
        pieces = [block[a:b] for a, b in zip([0, *cuts], [*cuts, len(block)], strict=True)]
        before, after = b"", b""
        if chance.random() < 0.1:
            flags, before = flags | frames.WITH_PRIORITY, bytes(5)
        if chance.random() < 0.1:
            after = bytes(chance.randrange(20))
            flags, before = flags | frames.PADDED, bytes([len(after)]) + before
        ends = frames.END_HEADERS
        self.say(frames.HEADERS, flags | (0 if cuts else ends), stream, before + pieces[0] + after)
        for piece in pieces[1:-1]:
            self.say(frames.CONTINUATION, 0, stream, piece)
        if cuts:
            self.say(frames.CONTINUATION, ends, stream, pieces[-1])


def _rude(fields: list[Field], chance: random.Random) -> list[Field]:
    fields = list(fields)
    at = chance.randrange(len(fields))
    value = chance.choice((*VALUES, chance.randbytes(chance.randrange(12))))
    match chance.randrange(4):
        case 0:
            fields[at] = (chance.choice(NAMES), value)
        case 1:
            fields.insert(at, (chance.choice(NAMES), value))
        case 2:
            del fields[at]
        case _:
            fields[at] = (fields[at][0], value)
    return fields


def honest(chance: random.Random, *, rude: bool = False) -> tuple[Talk, dict[int, tuple[int, bytes]]]:
    """A talk of up to a dozen requests; and the answers that were sent whole, by stream."""
    server = Server(chance, rude=rude)
    server.settle({Setting.MAX_CONCURRENT_STREAMS: 100})
    begun = 0
    under_way: dict[int, Iterator[None]] = {}
    acknowledges = chance.randrange(20)
    for step in range(chance.randrange(10, 70)):
        if step == acknowledges:
            server.acknowledge()
        draw = chance.random()
        if draw < 0.25 and begun < 12 and not server.leaves:
            _do(server.talk, BEGIN, chance)
            under_way[2 * begun + 1] = server.answer(2 * begun + 1)
            begun += 1
        elif draw < 0.29 and begun:
            _do(server.talk, 2 * chance.randrange(begun) + 1, chance)
        elif draw < 0.45:
            server.control(begun)
        elif draw < 0.47 and step > 20:
            server.goodbye(begun)
            under_way = {stream: answer for stream, answer in under_way.items() if stream <= server.last}
        elif under_way:
            _next(under_way, chance.choice(list(under_way)))
    while under_way and chance.random() < 0.98:
        _next(under_way, chance.choice(list(under_way)))
    return server.talk, server.answers


def _next(under_way: dict[int, Iterator[None]], stream: int) -> None:
    if next(under_way[stream], stream) == stream:
        del under_way[stream]


def _do(talk: Talk, act: int, chance: random.Random) -> None:
    """The client acts: between two frames, or in the middle of one."""
    before = talk[-1]
    if len(talk) > 1 and isinstance(before, bytes) and chance.random() < 0.3:
        cut = chance.randrange(len(before) + 1)
        talk[-1:] = [before[:cut], act, before[cut:]]
    else:
        talk.append(act)


def accident(data: bytes, chance: random.Random) -> bytes:
    """The same with a few bytes changed, dropped, doubled or put in."""
    wrong = bytearray(data)
    at = chance.randrange(len(wrong) + 1)
    match chance.randrange(5):
        case 0 if wrong:
            wrong[at % len(wrong)] = chance.randrange(256)
        case 1 if wrong:
            wrong[at % len(wrong)] ^= 1 << chance.randrange(8)
        case 2:
            del wrong[at : at + chance.randrange(1, 20)]
        case 3:
            wrong[at:at] = wrong[at : at + chance.randrange(1, 40)]
        case _:
            wrong[at:at] = chance.randbytes(chance.randrange(1, 12))
    return bytes(wrong)


def garbled(talk: Talk, chance: random.Random) -> Talk:
    """A talk after one to four accidents: to bytes, to frames, to their order, to what the client does."""
    wrong = list(talk)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 4))):
        at = chance.randrange(len(wrong))
        item = wrong[at]
        match chance.randrange(9):
            case 0 | 1 if isinstance(item, bytes):
                wrong[at] = accident(item, chance)
            case 2 if isinstance(item, bytes) and len(item) >= 9:  # a right frame around a wrong payload
                payload = accident(item[9:], chance)
                wrong[at] = len(payload).to_bytes(3, "big") + item[3:9] + payload
            case 3 if isinstance(item, bytes) and len(item) >= 9:
                kind, flags, stream = item[3], item[4], item[8]
                match chance.randrange(3):
                    case 0:
                        kind = chance.choice((*range(11), 200))
                    case 1:
                        flags ^= chance.choice((1, 4, 8, 0x20, 0xFF))
                    case _:
                        stream = chance.choice((0, 1, 2, 3, 7, 99, stream + 2)) & 0xFF
                wrong[at] = item[:3] + bytes([kind, flags, 0, 0, 0, stream]) + item[9:]
            case 4:
                del wrong[at]
                wrong = wrong or [BEGIN]
            case 5:
                wrong[at:at] = [item] * chance.choice((1, 1, 1, 3, 1100))
            case 6:
                other = chance.randrange(len(wrong))
                wrong[at], wrong[other] = wrong[other], item
            case 7:
                wrong.insert(at, chance.choice(HOSTILE))
            case _:
                wrong.insert(at, chance.choice((BEGIN, BEGIN, BEGIN, ASK, 1, 2, 3, 5, 7)))
    return wrong
