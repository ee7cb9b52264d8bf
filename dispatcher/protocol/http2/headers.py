"""Header blocks (HPACK, RFC 7541), arranged so that nearly none is computed.

Ours: one connection sends the same headers again and again. Once they are in the peer's table, the block is a few
indexed bytes that do not change until the headers do; those bytes are kept. Where projects share a connection, the table
is one's, until another has sent long enough without a break: the others' headers go as literals that touch no table, made
once. 4 KB hold three access tokens, and to replace one costs more than all else of a request. Nobody but this worker
puts headers on a connection, so there is none to guess a token in its table by (RFC 7541, 7.1).

Theirs: we announce a table of size 0, so every block stands for itself. Then a status of 200 shows in the first byte
(static entry 8), nothing else in such an answer is of interest, and its block is not decoded: there is no state that
could go wrong by it (RFC 9113, 4.3). Until the peer has acknowledged that setting its blocks may still build on each
other, and are all decoded; for ever, if it never does.
"""

from __future__ import annotations

from functools import lru_cache

from hpack import Decoder, Encoder
from hpack.exceptions import HPACKError, OversizedHeaderListError

from dispatcher.protocol.http2.frames import ErrorCode, PeerError

Header = tuple[bytes, bytes]

MAX_HEADER_LIST = 16_384
"""Bytes of decoded headers of one answer, reckoned as RFC 9113, 6.5.2 does; announced, and enforced. Google's answers
have about 500; the decoder's work grows with the square of a block's length."""

STAY = 64
"""Requests in a row after which the peer's table is for these headers."""

_OK = b"\x88"
"""Static table entry 8: `:status: 200` (RFC 7541, appendix A)."""
_SIZE_0_OK = b"\x20\x88"
"""The same after the notice that the table size is 0 now (RFC 7541, 6.3)."""
_TABLE_DEFAULT = 4096
_CONNECTION_SPECIFIC = frozenset(
    {b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"}
)


class Malformed(Exception):  # noqa: N818 - what an answer is, not what went wrong here
    """An answer that breaks the rules of HTTP, in a block that could be decoded: only its stream ends (8.1.1)."""


class RequestHeaders:
    """Encodes the header blocks of one connection."""

    def __init__(self) -> None:
        self._encoder = Encoder()
        # Whom the peer's table is for, what was sent last, and what its block is kept of.
        self._resident: tuple[Header, ...] | None = None
        self._last: tuple[Header, ...] | None = None
        self._kept: tuple[Header, ...] | None = None
        self._block = b""
        # Who goes without the table, as what, and how often in a row.
        self._guest: tuple[Header, ...] | None = None
        self._literal = b""
        self._visits = 0
        # Table sizes announced since the last block: the smallest and the last.
        self._smallest = self._size = _TABLE_DEFAULT

    def block(self, headers: tuple[Header, ...]) -> bytes:
        """The block for a request; it must be sent, and in this order with others.

        Args:
            headers: pseudo-headers first, names in lower case. The same object again costs nothing.
        """
        if headers is self._kept:
            self._guest = None
            return self._block
        if self._resident is not None and headers is not self._resident:
            if headers is not self._guest:
                self._guest, self._literal, self._visits = headers, _literal(headers), 0
            self._visits += 1
            if self._visits <= STAY:
                return self._literal
        self._resident, self._guest = headers, None
        table = self._encoder.header_table
        # The smallest size in between must be told too: entries were lost to it (RFC 7541, 4.2). Nothing is set that
        # is no change: hpack forgets to tell of a change that is followed by none.
        for size in (self._smallest, self._size):
            if size != table.maxsize:
                self._encoder.header_table_size = size
        self._smallest = self._size
        before = list(table.dynamic_entries)
        resized = table.resized
        block: bytes = self._encoder.encode(headers)
        # The second time on: what has not changed the peer's table means the same the next time.
        if headers is self._last and not resized and before == list(table.dynamic_entries):
            self._kept, self._block = headers, block
        else:
            self._kept = None
        self._last = headers
        return block

    def peer_table_size(self, size: int) -> None:
        """The peer has announced how much it remembers, in bytes."""
        self._size = min(size, _TABLE_DEFAULT)
        self._smallest = min(self._smallest, self._size)
        self._resident = self._last = self._kept = None


@lru_cache(maxsize=256)
def _literal(headers: tuple[Header, ...]) -> bytes:
    """A block that neither needs nor changes a table (RFC 7541, 6.2.3)."""
    block: bytes = Encoder().encode([(name, value, True) for name, value in headers], huffman=False)
    return block


class AnswerHeaders:
    """Reads the header blocks of one connection.

    Attributes:
        self_contained: the peer has acknowledged our table size of 0.
    """

    def __init__(self) -> None:
        self.self_contained = False
        self._decoder = Decoder(max_header_list_size=MAX_HEADER_LIST)

    def acknowledged(self) -> None:
        """The peer knows our table size of 0 (6.5.3)."""
        self.self_contained = True
        # Its notice of that (a size update) may stand in a block that is not decoded: the table is emptied here.
        self._decoder = Decoder(max_header_list_size=MAX_HEADER_LIST)
        self._decoder.max_allowed_table_size = 0
        self._decoder.header_table.maxsize = 0

    def read(self, block: bytes) -> tuple[int, list[Header]]:
        """The status and the headers of an answer; no headers for a 200 whose block stands for itself.

        Raises:
            Malformed: it is no answer, or too large a one.
            PeerError: COMPRESSION_ERROR.
        """
        if self.self_contained and block.startswith((_OK, _SIZE_0_OK)):
            return 200, []
        headers = self._decode(block)
        return _status(headers), headers

    def skip(self, block: bytes) -> None:
        """A block that nobody reads: later ones may build on it.

        Raises:
            PeerError: COMPRESSION_ERROR.
        """
        if not self.self_contained:
            self._decode(block)

    def _decode(self, block: bytes) -> list[Header]:
        _check_size_updates(block)
        try:
            return [(bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True)]
        except OversizedHeaderListError:
            # The rest of the block was not decoded: only where nothing builds on it this is the stream's own affair.
            if self.self_contained:
                raise Malformed("the headers of the answer are too large") from None
            raise PeerError(ErrorCode.COMPRESSION_ERROR, "a header list that is too large") from None
        except (HPACKError, ValueError, IndexError):
            raise PeerError(ErrorCode.COMPRESSION_ERROR, "a header block that cannot be decoded") from None


def _check_size_updates(block: bytes) -> None:
    """Our table has changed its size once, so two notices of that are the most there can be (RFC 7541, 4.2).

    hpack takes any number of them, at 1.5 us a byte.

    Raises:
        PeerError: COMPRESSION_ERROR.
    """
    at = updates = 0
    while at < len(block) and block[at] & 0xE0 == 0x20:
        updates += 1
        if updates > 2:
            raise PeerError(ErrorCode.COMPRESSION_ERROR, "a header block of nothing but table sizes")
        if block[at] == 0x3F:  # the size goes on in bytes of 7 bits (RFC 7541, 5.1)
            at += 1
            while at < len(block) and block[at] & 0x80:
                at += 1
        at += 1


def _status(headers: list[Header]) -> int:
    """The status of an answer whose headers keep the rules (8.2 and 8.3)."""
    status = 0
    regular = False
    for name, value in headers:
        if name[:1] == b":":
            # 8.3.2: one `:status` and no other pseudo-header; 8.3: before all others.
            if name != b":status" or status or regular or len(value) != 3 or not value.isdigit():
                raise Malformed(f"the pseudo-header {shown(name)}: {shown(value)}")
            status = int(value)
        else:
            regular = True
            # 8.2.1: no upper case, no control characters, no spaces, no colons; values without line ends inside or
            # blanks around. 8.2.2: nothing about the connection.
            if (
                not name
                or name != name.lower()
                or name in _CONNECTION_SPECIFIC
                or any(byte <= 0x20 or byte >= 0x7F or byte == 0x3A for byte in name)
                or any(byte in value for byte in b"\0\r\n")
                or value != value.strip(b" \t")
            ):
                raise Malformed(f"the header {shown(name)}")
    if status < 100:
        raise Malformed("an answer without a status")
    return status


def shown(text: bytes) -> str:
    """What a peer wrote, for a reason: short, and printable whatever it was."""
    return text[:40].decode("latin-1").encode("unicode_escape").decode()
