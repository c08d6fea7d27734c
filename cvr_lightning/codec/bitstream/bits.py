"""A bounds-checked reader of header bits, most significant bit first."""

from __future__ import annotations

_GOLOMB_PREFIX = 32
"""Maximum prefix length of an Exp-Golomb code: values have at most 32 bits (ITU-T H.264, 9.1)."""


class BitReader:
    """Reads integers from a byte string; reading beyond its end raises :class:`EOFError`."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._size = 8 * len(data)
        self.position = 0

    def read(self, count: int) -> int:
        """Read ``count`` bits as an unsigned integer."""
        self.skip(count)
        return (self._value >> (self._size - self.position)) & ((1 << count) - 1)

    def flag(self) -> bool:
        """Read one bit."""
        return self.read(1) == 1

    def skip(self, count: int) -> None:
        """Skip ``count`` bits."""
        if self.position + count > self._size:
            raise EOFError(f"header ends at bit {self._size}")
        self.position += count

    def unsigned(self) -> int:
        """Read an unsigned Exp-Golomb code, ue(v) (ITU-T H.264, 9.1)."""
        zeros = 0
        while not self.flag():
            zeros += 1
            if zeros > _GOLOMB_PREFIX:
                raise EOFError(f"no Exp-Golomb code at bit {self.position}")
        return (1 << zeros) - 1 + self.read(zeros)

    def signed(self) -> int:
        """Read a signed Exp-Golomb code, se(v) (ITU-T H.264, 9.1.1)."""
        code = self.unsigned()
        return (code + 1) // 2 if code % 2 else -(code // 2)
