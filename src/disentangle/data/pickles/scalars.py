"""The instructions that put numbers, text and bytes on the stack."""

from __future__ import annotations

import codecs
import re
import struct
from collections.abc import Callable

from disentangle.data.pickles.machine import Machine, Python2Str

__all__ = ["SCALARS", "Instruction"]

# Slices of bytes from this size on stay views of the file until they are known to be a value of their own.
LARGE = 4096

Instruction = Callable[[Machine], None]


def _constant(value: object) -> Instruction:
    return lambda m: m.stack.append(value)


def _whole(size: int, *, signed: bool = False) -> Instruction:
    return lambda m: m.stack.append(int.from_bytes(m.read(size), "little", signed=signed))


def _binfloat(m: Machine) -> None:
    m.stack.append(_DOUBLE(m.data, m.skip(8))[0])


def _long(size: int) -> Instruction:
    def instruction(m: Machine) -> None:
        length = m.number(size)
        if length > 255:
            raise ValueError(f"expected a whole number of at most 255 bytes, got {length}")
        m.stack.append(int.from_bytes(m.read(length), "little", signed=True))

    return instruction


def _int_line(m: Machine) -> None:
    line = m.line(limit=700)
    if line in (b"00", b"01"):
        m.stack.append(line == b"01")
        return
    digits = line.removesuffix(b"L")
    if not re.fullmatch(rb"[+-]?[0-9]+", digits):
        raise ValueError("expected the digits of a whole number")
    m.stack.append(int(digits))


def _float_line(m: Machine) -> None:
    m.stack.append(float(m.line(limit=700)))


def _text(size: int) -> Instruction:
    return lambda m: m.stack.append(m.read(m.number(size)).decode())


def _text_line(m: Machine) -> None:
    text = m.line().decode("raw-unicode-escape")
    # Python 2 could write a character outside the basic plane as two surrogates.
    m.stack.append(text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16"))


def _string_line(m: Machine) -> None:
    line = m.line().strip()
    if len(line) < 2 or line[0] != line[-1] or line[:1] not in (b"'", b'"'):
        raise ValueError("expected text in quotes")
    m.stack.append(_of_python_2(codecs.escape_decode(line[1:-1])[0]))  # pyright: ignore[reportAttributeAccessIssue]


def _string(size: int) -> Instruction:
    return lambda m: m.stack.append(_of_python_2(m.read(m.number(size))))


def _of_python_2(raw: bytes) -> str | Python2Str:
    return raw.decode() if raw.isascii() else Python2Str(raw)


def _bytes(size: int) -> Instruction:
    def instruction(m: Machine) -> None:
        length = m.number(size)
        at = m.skip(length)
        m.stack.append(m.view[at : m.at] if length >= LARGE else m.data[at : m.at])

    return instruction


def _bytearray8(m: Machine) -> None:
    m.stack.append(bytearray(m.view[m.skip(m.number(8)) : m.at]))


_DOUBLE = struct.Struct(">d").unpack_from
# By the name of the instruction.
SCALARS: dict[str, Instruction] = {
    "NONE": _constant(None),
    "NEWTRUE": _constant(True),
    "NEWFALSE": _constant(False),
    "INT": _int_line,
    "LONG": _int_line,
    "BININT": _whole(4, signed=True),
    "BININT1": _whole(1),
    "BININT2": _whole(2),
    "LONG1": _long(1),
    "LONG4": _long(4),
    "FLOAT": _float_line,
    "BINFLOAT": _binfloat,
    "STRING": _string_line,
    "BINSTRING": _string(4),
    "SHORT_BINSTRING": _string(1),
    "UNICODE": _text_line,
    "SHORT_BINUNICODE": _text(1),
    "BINUNICODE": _text(4),
    "BINUNICODE8": _text(8),
    "SHORT_BINBYTES": _bytes(1),
    "BINBYTES": _bytes(4),
    "BINBYTES8": _bytes(8),
    "BYTEARRAY8": _bytearray8,
}
