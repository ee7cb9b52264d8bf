"""Header blocks (HPACK, RFC 7541), arranged so that nearly none is computed.

Ours: one connection sends the same headers again and again. Once they are in the peer's table, the block is a few
indexed bytes that do not change until the headers do; those bytes are kept.

Theirs: we announce a table of size 0, so every block stands for itself. Then a status of 200 shows in the first byte
(static entry 8), nothing else in such an answer is of interest, and its block is not decoded. Until the peer has
acknowledged that setting its blocks may still build on each other, and are all decoded.
"""

from __future__ import annotations

from hpack import Decoder, Encoder
from hpack.exceptions import HPACKError

from dispatcher.protocol.http2.frames import ErrorCode, PeerError

Header = tuple[bytes, bytes]

MAX_HEADER_LIST = 65_536
"""Bytes of decoded headers of one answer; announced, and enforced."""

_OK = b"\x88"
"""Static table entry 8: `:status: 200`."""
_SIZE_0_OK = b"\x20\x88"
"""The same after the notice that the table size is 0 now."""
_TABLE_DEFAULT = 4096


class RequestHeaders:
    """Encodes the header blocks of one connection."""

    def __init__(self) -> None:
        self._encoder = Encoder()
        self._last: tuple[Header, ...] | None = None
        self._kept: tuple[Header, ...] | None = None
        self._block = b""

    def block(self, headers: tuple[Header, ...]) -> bytes:
        """The block for a request; it must be sent, and in this order with others.

        Args:
            headers: pseudo-headers first, names in lower case. The same object again costs nothing.
        """
        if headers is self._kept:
            return self._block
        before = list(self._encoder.header_table.dynamic_entries)
        block: bytes = self._encoder.encode(headers)
        # The second time on: what has not changed the peer's table means the same the next time.
        if headers is self._last and before == list(self._encoder.header_table.dynamic_entries):
            self._kept, self._block = headers, block
        else:
            self._kept = None
        self._last = headers
        return block

    def peer_table_size(self, size: int) -> None:
        """The peer has announced how much it remembers, in bytes."""
        self._encoder.header_table_size = min(size, _TABLE_DEFAULT)
        self._last = self._kept = None


class AnswerHeaders:
    """Reads the header blocks of one connection.

    Attributes:
        self_contained: the peer has acknowledged our table size of 0.
    """

    def __init__(self) -> None:
        self.self_contained = False
        self._decoder = Decoder(max_header_list_size=MAX_HEADER_LIST)

    def acknowledged(self) -> None:
        """The peer knows our table size of 0."""
        self.self_contained = True
        # Its notice of that (a size update) may stand in a block that is not decoded: the table is emptied here.
        self._decoder = Decoder(max_header_list_size=MAX_HEADER_LIST)
        self._decoder.max_allowed_table_size = 0
        self._decoder.header_table.maxsize = 0

    def read(self, block: bytes) -> tuple[int, list[Header]]:
        """The status and the headers of an answer; no headers for a 200 whose block stands for itself.

        Raises:
            PeerError: COMPRESSION_ERROR, or PROTOCOL_ERROR for a block without a status.
        """
        if self.self_contained and block.startswith((_OK, _SIZE_0_OK)):
            return 200, []
        headers = self.decode(block)
        for name, value in headers:
            if name == b":status":
                if len(value) == 3 and value.isdigit():
                    return int(value), headers
                break
        raise PeerError(ErrorCode.PROTOCOL_ERROR, "an answer without a status")

    def decode(self, block: bytes) -> list[Header]:
        """All headers of a block.

        Raises:
            PeerError: COMPRESSION_ERROR.
        """
        try:
            return [(bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True)]
        except (HPACKError, ValueError, IndexError, OverflowError):
            raise PeerError(ErrorCode.COMPRESSION_ERROR, "a header block that cannot be decoded") from None
