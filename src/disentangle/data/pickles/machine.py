"""The stack machine that runs a pickle's instructions: what it holds, and what values cost. The package lists the bounds."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NoReturn, no_type_check

import numpy as np

from disentangle.errors import DisentangleError

__all__ = [
    "DEPTH",
    "UNFINISHED",
    "Box",
    "Machine",
    "Python2Str",
    "Refused",
    "Symbol",
    "items_of",
    "kind_of",
    "printable",
    "size_of",
]

DEPTH = 100
# Bytes that values may take per byte of the file, and bytes that they may take in any file.
ALLOWANCE, ALLOWANCE_OF_ANY = 32, 1 << 26
# What the machine keeps for each container beside the container.
BOOKKEEPING = 96


class Refused(DisentangleError):
    """Why the file is not read; the path is added by `load_pickle`."""


class Symbol:
    """A global that may be named: its name, and what stands in for calling it."""

    __slots__ = ("call", "name")

    def __init__(self, name: str, call: Callable[[Machine, list[Any]], object] | None):
        self.name, self.call = name, call


class Box:
    """What is still being built: a container, a tuple's items, an array or a data type.

    Attributes:
        value: The container, array or data type; of a tuple and an array, None until it is known.
        items: The items of a tuple as they were on the stack: a call wants its arguments so.
        depth: How deep it is.
        size: About how many bytes it takes, shared parts counted each time.
        open: Whether it may still change.
        hashes: The hashes of its keys that are not text.
        others: How many such keys there are.
    """

    __slots__ = ("depth", "hashes", "items", "open", "others", "size", "value")

    def __init__(self, value: Any, items: list[Any] | None = None):
        self.value, self.items = value, items
        self.depth, self.size, self.open = 1, BOOKKEEPING + sys.getsizeof(value), items is None
        self.hashes: set[int] | None = None
        self.others = 0


class Python2Str(bytes):
    """A string of Python 2 that is not ASCII: the bytes of an array to what builds one, text to all else."""

    def text(self) -> str:
        """UTF-8 where it is that, and otherwise Latin-1."""
        try:
            return self.decode()
        except UnicodeDecodeError:
            return self.decode("latin-1")


UNFINISHED = frozenset({Box, Symbol, memoryview, Python2Str})
_ATOMS = (str, bytes, bool, int, float, complex, type(None), np.generic)


@no_type_check  # run-time checks would run at every instruction
class Machine:
    """The stack machine, on the bytes of one file."""

    def __init__(self, data: bytes):
        self.data, self.view = data, memoryview(data)
        self.at = self.start = 0
        self.name = "start"
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stacks under each mark
        self.memo: list[Any] = []
        self.left = ALLOWANCE_OF_ANY + ALLOWANCE * len(data)

    # -- reading the file ----------------------------------------------------------------------------------------------

    def truncated(self) -> NoReturn:
        """Refuses a file that ends within a value."""
        raise Refused(f"truncated: the file ends at byte {len(self.data)}, within a value")

    def skip(self, size: int) -> int:
        """Where the next `size` bytes begin; they are read then."""
        at = self.at
        self.at += size
        if self.at > len(self.data):
            self.truncated()
        return at

    def read(self, size: int) -> bytes:
        """The next `size` bytes."""
        at = self.skip(size)
        return self.data[at : self.at]

    def number(self, size: int) -> int:
        """The next `size` bytes as an unsigned number."""
        at = self.skip(size)
        return int.from_bytes(self.data[at : self.at], "little")

    def line(self, limit: int | None = None) -> bytes:
        """The bytes up to the end of the line, at most `limit`."""
        end = self.data.find(b"\n", self.at)
        if end < 0:
            self.truncated()
        if limit is not None and end - self.at > limit:
            raise ValueError(f"expected a line of at most {limit} bytes, got {end - self.at}")
        line = self.data[self.at : end]
        self.at = end + 1
        return line

    # -- building values -----------------------------------------------------------------------------------------------

    def pay(self, size: int) -> None:
        """Takes so many bytes from what values may still cost."""
        self.left -= size
        if self.left < 0:
            raise Refused(f"asks for far more memory than a data file of {len(self.data)} bytes needs")

    def push(self, box: Box) -> None:
        """Pays for a container and puts it on the stack."""
        self.pay(box.size)
        self.stack.append(box)

    def take(self, box: Box, items: list[Any]) -> list[Any]:
        """The items finished, as they go into a container."""
        self.close(box, items)
        return items if UNFINISHED.isdisjoint(map(type, items)) else [self.finish(item) for item in items]

    def close(self, box: Box, items: list[Any]) -> None:
        """Notes that the items go into a container: they change no more, and it is as deep and as large as they make it."""
        if not UNFINISHED.isdisjoint(map(type, items)):
            for item in items:
                if type(item) is Box:
                    item.open = False
                    box.depth = max(box.depth, item.depth + 1)
            if box.depth > DEPTH:
                raise Refused(f"nested deeper than {DEPTH} levels")
        box.size += sum(map(size_of, items)) + 8 * len(items)

    def finish(self, item: Any) -> Any:
        """The value of what is on the stack."""
        if type(item) is memoryview:
            return bytes(item)
        if type(item) is Python2Str:
            return item.text()
        if type(item) is Symbol:
            raise Refused(f"holds {item.name} itself, which is not data")
        if type(item) is not Box:
            return item
        if isinstance(item.value, np.dtype):
            raise Refused("holds a NumPy data type itself, which is not data")
        if item.value is None:
            if item.items is None:
                raise Refused("holds an array without its contents")
            item.value = tuple([self.finish(part) for part in item.items])
        return item.value

    def top(self, *types: type) -> Box:
        """The container on top of the stack, to be added to."""
        box = self.stack[-1]
        if type(box) is not Box or type(box.value) not in types:
            raise TypeError(f"expected {types[0].__name__}, got {kind_of(box)}")
        if not box.open:
            raise Refused("changes a container that is in use, or holds itself")
        return box

    def keys(self, box: Box, keys: list[Any]) -> list[Any]:
        """Keys as they may be: hashing a deep tuple would exhaust the C stack, and equal hashes take quadratic time."""
        others = []
        for key in keys:
            if type(key) is str:
                continue
            if not isinstance(key, _ATOMS) and not (
                type(key) is tuple and all(isinstance(part, _ATOMS) for part in key)
            ):
                raise TypeError(f"expected a key of text or numbers, got {kind_of(key)}")
            if type(key) is not bytes:
                others.append(hash(key))
        if others:
            if box.hashes is None:
                box.hashes = set()
            box.hashes.update(others)
            box.others += len(others)
            if box.others > 64 + 8 * len(box.hashes):
                raise Refused("has keys made to share one hash")
        self.pay(64 * len(keys))
        return keys

    def update(self, box: Box, items: list[Any]) -> None:
        """Adds keys and values, one after the other, to a dictionary."""
        if len(items) % 2:
            raise ValueError("a key without a value")
        items = self.take(box, items)
        box.value.update(zip(self.keys(box, items[::2]), items[1::2], strict=True))

    def marked(self) -> list[Any]:
        """What was put on the stack since the last mark."""
        items, self.stack = self.stack, self.below.pop()
        return items

    def make_set(self, kind: type, items: list[Any]) -> Box:
        """A set or a frozen set of these items."""
        box = Box(kind())
        # Of the right kind for a frozen set, too, which cannot be added to.
        box.value = kind(self.keys(box, self.take(box, items)))
        box.open = kind is set
        return box

    def make_tuple(self, items: list[Any]) -> Box:
        """A tuple of these items, which are not changed any more."""
        box = Box(None, items)
        self.close(box, items)
        return box

    def call(self, function: Any, arguments: Any) -> object:
        """What the stand-in for a function makes of its arguments; without one, the call is refused."""
        if type(function) is not Symbol:
            raise TypeError(f"expected a function, got {kind_of(function)}")
        if function.call is None:
            raise Refused(f"asks to run {function.name}; not a data file")
        return function.call(self, items_of(arguments))


def size_of(item: Any) -> int:
    """About how many bytes a value takes."""
    if type(item) is Box:
        return item.size
    if type(item) is Python2Str:
        return 4 * sys.getsizeof(item)  # as text that has a character of four bytes
    return item.nbytes if type(item) is memoryview else sys.getsizeof(item)


def kind_of(item: Any) -> str:
    """What something on the stack is, for a message."""
    if type(item) is Symbol:
        return item.name
    if type(item) is Box:
        return "tuple" if item.items is not None else "array" if item.value is None else type(item.value).__name__
    return type(item).__name__


def items_of(box: Any) -> list[Any]:
    """The items of a tuple."""
    if type(box) is not Box or box.items is None:
        raise TypeError(f"expected tuple, got {kind_of(box)}")
    return box.items


def printable(name: str) -> str:
    """A name from the file, short and in ASCII, for a message."""
    return ascii(name)[1:-1][:80]
