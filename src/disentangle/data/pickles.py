"""Reads the pickles that data sets are handed around in, as data: nothing in the file is ever run.

A pickle is a program for a small stack machine, some of whose instructions import and call what they name. The interpreter
here knows the instructions that containers, text, numbers and NumPy arrays need. A global is a symbol, compared with a short
table and never looked up; a call is a function of this module that checks its arguments and builds a value.

What a stranger's file could do short of running code is bounded as well:

- *Memory.* Every container, and every second use of a value, is paid for out of an allowance in proportion to the file.
  So a shared value counts as often as it is used, and what walks through the result takes time in proportion to the file.
- *Depth.* Values are at most `DEPTH` deep, and a container that was used is not changed any more, hence never holds itself.
- *Keys* are text and numbers, or tuples of them, few of which may share a hash.
- *Arrays* have a plain data type and exactly the bytes that their shape needs.
"""

from __future__ import annotations

import codecs
import os
import pickletools
import re
import stat
import struct
import sys
from collections.abc import Callable, Iterable
from math import prod
from typing import Any, Literal, NoReturn, no_type_check

import numpy as np

__all__ = ["DataError", "load_pickle"]

DEPTH = 100
# Bytes that values may take for each byte of the file, and those that any file may have.
ALLOWANCE, ALLOWANCE_OF_ANY = 32, 1 << 26
# What this module keeps for each container beside the container.
BOOKKEEPING = 96
# Slices of bytes from this size on stay views of the file until they are known to be a value of their own.
LARGE = 4096


class DataError(ValueError):
    """A data file cannot be used. The message is one line: the file, and what is wrong with it."""


def load_pickle(path: str | os.PathLike[str]) -> object:
    """Reads a pickle of containers, text, numbers and NumPy arrays, protocols 0 to 5, running nothing that it asks for.

    It gives what `pickle.load` gives, but for ordered and default dictionaries, which are read as `dict`, byte strings
    of Python 2, which are read as text (Latin-1), and arrays, which own their memory and have the machine's byte order.

    Arguments:
        path: The file.

    Returns:
        The value. NumPy data types are booleans, integers, floats, complex numbers, text, bytes and objects.

    Raises:
        DataError: If the file cannot be read, is not a pickle, is damaged, or asks for anything else, a call for example.

    Example:
        >>> import pickle, tempfile
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     pickle.dump({"audio": np.arange(3.0), "raw_text": ["so good", ""]}, file)
        ...     file.flush()
        ...     load_pickle(file.name)
        {'audio': array([0., 1., 2.]), 'raw_text': ['so good', '']}
    """
    try:
        # A pipe or a device would block or never end.
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise DataError(f"{path}: a directory, wanted a file")
        if not stat.S_ISREG(mode):
            raise DataError(f"{path}: not a regular file")
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except MemoryError as error:
        raise DataError(f"{path}: does not fit into memory") from error
    except DataError:
        raise
    except ValueError as error:  # a null byte in the path
        raise DataError(f"{path}: cannot be read: {error}") from error
    if not data:
        raise DataError(f"{path}: empty, wanted a pickle")
    machine = _Machine(data)
    try:
        return machine.run()
    except _Refused as error:
        raise DataError(f"{path}: {error}") from None
    except MemoryError as error:
        raise DataError(f"{path}: does not fit into memory") from error
    except (
        Exception
    ) as error:  # whatever else a damaged program leads to: a stack of the wrong types, text that is not UTF-8
        what = " ".join(str(error).split())[:120]
        raise DataError(
            f"{path}: not a pickle, or a damaged one: {machine.name} at byte {machine.start}: {what or type(error).__name__}"
        ) from error


class _Refused(Exception):
    """Why the file is not read; the path is added by `load_pickle`."""


class _Symbol:
    """A global of the table below: its name, and what stands in for calling it."""

    __slots__ = ("call", "name")

    def __init__(self, name: str, call: Callable[[_Machine, list[Any]], object] | None):
        self.name, self.call = name, call


class _Box:
    """What is still being built: a container, a tuple's items, an array or a data type.

    Attributes:
        value: The container, array or data type; of a tuple and an array, None until it is known.
        items: The items of a tuple as they were on the stack: a call wants its arguments so.
        depth: How deep it is.
        size: About how many bytes it takes, shared parts counted each time.
        open: Whether it may still change.
        hashes: The hashes of its keys that are not text, and how many such keys there are.
    """

    __slots__ = ("depth", "hashes", "items", "open", "others", "size", "value")

    def __init__(self, value: Any, items: list[Any] | None = None):
        self.value, self.items = value, items
        self.depth, self.size, self.open = 1, BOOKKEEPING + sys.getsizeof(value), items is None
        self.hashes: set[int] | None = None
        self.others = 0


_UNFINISHED = frozenset({_Box, _Symbol, memoryview})
_ATOMS = (str, bytes, bool, int, float, complex, type(None), np.generic)


@no_type_check  # run-time checks would run at every instruction
class _Machine:
    """The stack machine, on the bytes of one file."""

    def __init__(self, data: bytes):
        self.data, self.view = data, memoryview(data)
        self.at = self.start = 0
        self.name = "start"
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stacks under each mark
        self.memo: list[Any] = []
        self.left = ALLOWANCE_OF_ANY + ALLOWANCE * len(data)

    def run(self) -> object:
        """The value that the program leaves."""
        data, end = self.data, len(self.data)
        while self.at < end:
            self.start = self.at
            code = data[self.at]
            self.at += 1
            if code == 0x2E:  # STOP
                self.name = "STOP"
                if self.below or len(self.stack) != 1:
                    raise ValueError("wanted one value on the stack")
                return self.finish(self.stack[0])
            if code not in _INSTRUCTIONS:
                self.name = f"0x{code:02x}"
                raise ValueError("no instruction of a pickle")
            self.name, instruction = _INSTRUCTIONS[code]
            instruction(self)
        return self.truncated()

    # -- reading the file ----------------------------------------------------------------------------------------------

    def truncated(self) -> NoReturn:
        raise _Refused(f"truncated: the file ends at byte {len(self.data)}, within a value")

    def skip(self, size: int) -> int:
        """Where the next `size` bytes begin; they are read then."""
        at = self.at
        self.at += size
        if self.at > len(self.data):
            self.truncated()
        return at

    def read(self, size: int) -> bytes:
        at = self.skip(size)
        return self.data[at : self.at]

    def number(self, size: int) -> int:
        """The next `size` bytes as an unsigned number."""
        at = self.skip(size)
        return int.from_bytes(self.data[at : self.at], "little")

    def line(self, limit: int | None = None) -> bytes:
        end = self.data.find(b"\n", self.at)
        if end < 0:
            self.truncated()
        if limit is not None and end - self.at > limit:
            raise ValueError(f"a line of {end - self.at} bytes, wanted at most {limit}")
        line = self.data[self.at : end]
        self.at = end + 1
        return line

    # -- building values -----------------------------------------------------------------------------------------------

    def pay(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise _Refused(f"asks for far more memory than a data file of {len(self.data)} bytes needs")

    def push(self, box: _Box) -> None:
        self.pay(box.size)
        self.stack.append(box)

    def take(self, box: _Box, items: list[Any]) -> list[Any]:
        """The items finished, as they go into a container."""
        self.close(box, items)
        return items if _UNFINISHED.isdisjoint(map(type, items)) else [self.finish(item) for item in items]

    def close(self, box: _Box, items: list[Any]) -> None:
        """Notes that the items go into a container: they change no more, and it is as deep and as large as they make it."""
        if not _UNFINISHED.isdisjoint(map(type, items)):
            for item in items:
                if type(item) is _Box:
                    item.open = False
                    box.depth = max(box.depth, item.depth + 1)
            if box.depth > DEPTH:
                raise _Refused(f"nested deeper than {DEPTH} levels")
        box.size += sum(map(_size, items)) + 8 * len(items)

    def finish(self, item: Any) -> Any:
        """The value of what is on the stack."""
        if type(item) is memoryview:
            return bytes(item)
        if type(item) is _Symbol:
            raise _Refused(f"holds {item.name} itself, which is not data")
        if type(item) is not _Box:
            return item
        if isinstance(item.value, np.dtype):
            raise _Refused("holds a NumPy data type itself, which is not data")
        if item.value is None:
            if item.items is None:
                raise _Refused("holds an array without its contents")
            item.value = tuple([self.finish(part) for part in item.items])
        return item.value

    def top(self, *types: type) -> _Box:
        """The container on top of the stack, to be added to."""
        box = self.stack[-1]
        if type(box) is not _Box or type(box.value) not in types:
            raise TypeError(f"wanted {types[0].__name__}, got {_kind(box)}")
        if not box.open:
            raise _Refused("changes a container that is in use, or holds itself")
        return box

    def keys(self, box: _Box, keys: list[Any]) -> list[Any]:
        """Keys as they may be: hashing a deep tuple would exhaust the C stack, and equal hashes take quadratic time."""
        others = []
        for key in keys:
            if type(key) is str:
                continue
            if not isinstance(key, _ATOMS) and not (
                type(key) is tuple and all(isinstance(part, _ATOMS) for part in key)
            ):
                raise TypeError(f"wanted a key of text or numbers, got {_kind(key)}")
            if type(key) is not bytes:
                others.append(hash(key))
        if others:
            if box.hashes is None:
                box.hashes = set()
            box.hashes.update(others)
            box.others += len(others)
            if box.others > 64 + 8 * len(box.hashes):
                raise _Refused("has keys made to share one hash")
        self.pay(64 * len(keys))
        return keys

    def update(self, box: _Box, items: list[Any]) -> None:
        """Adds keys and values, one after the other, to a dictionary."""
        if len(items) % 2:
            raise ValueError("a key without a value")
        items = self.take(box, items)
        box.value.update(zip(self.keys(box, items[::2]), items[1::2], strict=True))

    def marked(self) -> list[Any]:
        """What was put on the stack since the last mark."""
        items, self.stack = self.stack, self.below.pop()
        return items

    def make_set(self, kind: type, items: list[Any]) -> _Box:
        box = _Box(kind())
        # Of the right kind for a frozen set, too, which cannot be added to.
        box.value = kind(self.keys(box, self.take(box, items)))
        box.open = kind is set
        return box

    def make_tuple(self, items: list[Any]) -> _Box:
        box = _Box(None, items)
        self.close(box, items)
        return box

    def call(self, function: Any, arguments: Any) -> object:
        if type(function) is not _Symbol:
            raise TypeError(f"wanted a function, got {_kind(function)}")
        if function.call is None:
            raise _Refused(f"asks to run {function.name}; not a data file")
        return function.call(self, _items(arguments))


def _size(item: Any) -> int:
    """About how many bytes a value takes."""
    if type(item) is _Box:
        return item.size
    return item.nbytes if type(item) is memoryview else sys.getsizeof(item)


def _kind(item: Any) -> str:
    if type(item) is _Symbol:
        return item.name
    if type(item) is _Box:
        return "tuple" if item.items is not None else "array" if item.value is None else type(item.value).__name__
    return type(item).__name__


def _items(box: Any) -> list[Any]:
    if type(box) is not _Box or box.items is None:
        raise TypeError(f"wanted tuple, got {_kind(box)}")
    return box.items


def _printable(name: str) -> str:
    return ascii(name)[1:-1][:80]


_Instruction = Callable[[_Machine], None]


# -- instructions ------------------------------------------------------------------------------------------------------


def _proto(m: _Machine) -> None:
    version = m.number(1)
    if version > 5:
        raise _Refused(f"a pickle of protocol {version}, wanted at most 5")


def _frame(m: _Machine) -> None:
    if m.number(8) > len(m.data) - m.at:
        m.truncated()


def _mark(m: _Machine) -> None:
    if len(m.below) > 4 * DEPTH:
        raise _Refused(f"nested deeper than {DEPTH} levels")
    m.below.append(m.stack)
    m.stack = []


def _constant(value: object) -> _Instruction:
    return lambda m: m.stack.append(value)


def _whole(size: int, *, signed: bool = False) -> _Instruction:
    return lambda m: m.stack.append(int.from_bytes(m.read(size), "little", signed=signed))


def _binfloat(m: _Machine) -> None:
    m.stack.append(_DOUBLE(m.data, m.skip(8))[0])


def _long(size: int) -> _Instruction:
    def instruction(m: _Machine) -> None:
        length = m.number(size)
        if length > 255:
            raise ValueError(f"a whole number of {length} bytes, wanted at most 255")
        m.stack.append(int.from_bytes(m.read(length), "little", signed=True))

    return instruction


def _int_line(m: _Machine) -> None:
    line = m.line(limit=700)
    if line in (b"00", b"01"):
        m.stack.append(line == b"01")
        return
    digits = line.removesuffix(b"L")
    if not re.fullmatch(rb"[+-]?[0-9]+", digits):
        raise ValueError("wanted the digits of a whole number")
    m.stack.append(int(digits))


def _float_line(m: _Machine) -> None:
    m.stack.append(float(m.line(limit=700)))


def _text(size: int, encoding: str = "utf-8") -> _Instruction:
    return lambda m: m.stack.append(m.read(m.number(size)).decode(encoding))


def _text_line(m: _Machine) -> None:
    text = m.line().decode("raw-unicode-escape")
    # Python 2 could write a character outside the basic plane as two surrogates.
    m.stack.append(text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16"))


def _string_line(m: _Machine) -> None:
    line = m.line().strip()
    if len(line) < 2 or line[0] != line[-1] or line[:1] not in (b"'", b'"'):
        raise ValueError("wanted text in quotes")
    m.stack.append(codecs.escape_decode(line[1:-1])[0].decode("latin-1"))  # pyright: ignore[reportAttributeAccessIssue]


def _bytes(size: int) -> _Instruction:
    def instruction(m: _Machine) -> None:
        length = m.number(size)
        at = m.skip(length)
        m.stack.append(m.view[at : m.at] if length >= LARGE else m.data[at : m.at])

    return instruction


def _bytearray8(m: _Machine) -> None:
    m.stack.append(bytearray(m.view[m.skip(m.number(8)) : m.at]))


def _empty(kind: Callable[[], Any]) -> _Instruction:
    return lambda m: m.push(_Box(kind()))


def _list(m: _Machine) -> None:
    box = _Box([])
    box.value = m.take(box, m.marked())
    m.push(box)


def _append(m: _Machine) -> None:
    item = m.stack.pop()
    box = m.top(list)
    if type(item) in _UNFINISHED:
        (item,) = m.take(box, [item])
    else:
        box.size += sys.getsizeof(item) + 8
    box.value.append(item)


def _appends(m: _Machine) -> None:
    items = m.marked()
    box = m.top(list)
    box.value += m.take(box, items)


def _dict(m: _Machine) -> None:
    box = _Box({})
    m.update(box, m.marked())
    m.push(box)


def _setitem(m: _Machine) -> None:
    items = m.stack[-2:]
    del m.stack[-2:]
    m.update(m.top(dict), items)


def _setitems(m: _Machine) -> None:
    items = m.marked()
    m.update(m.top(dict), items)


def _additems(m: _Machine) -> None:
    items = m.marked()
    box = m.top(set)
    box.value.update(m.keys(box, m.take(box, items)))


def _frozenset(m: _Machine) -> None:
    m.push(m.make_set(frozenset, m.marked()))


def _tuple(m: _Machine) -> None:
    m.push(m.make_tuple(m.marked()))


def _tuple_of(size: int) -> _Instruction:
    def instruction(m: _Machine) -> None:
        if len(m.stack) < size:
            raise IndexError("the stack is too short")
        cut = len(m.stack) - size
        items = m.stack[cut:]
        del m.stack[cut:]
        m.push(m.make_tuple(items))

    return instruction


def _global(m: _Machine) -> None:
    module, name = m.line().decode(), m.line().decode()
    _push_symbol(m, module, name)


def _stack_global(m: _Machine) -> None:
    name, module = m.stack.pop(), m.stack.pop()
    if type(name) is not str or type(module) is not str:
        raise TypeError(f"wanted two names, got {_kind(module)} and {_kind(name)}")
    _push_symbol(m, module, name)


def _push_symbol(m: _Machine, module: str, name: str) -> None:
    symbol = _SYMBOLS.get((_MODULES.get(module, module), name))
    if symbol is None:
        raise _Refused(f"asks to run {_printable(module)}.{_printable(name)}; not a data file")
    m.stack.append(symbol)


def _reduce(m: _Machine) -> None:
    arguments, function = m.stack.pop(), m.stack.pop()
    value = m.call(function, arguments)
    if isinstance(value, _Box):
        m.push(value)
    else:
        m.stack.append(value)


def _build(m: _Machine) -> None:
    state = m.stack.pop()
    box = m.stack[-1]
    if type(box) is not _Box or not (isinstance(box.value, np.dtype) or (box.value is None and box.items is None)):
        raise _Refused(f"asks to set the state of {_kind(box)}; not a data file")
    if not box.open:
        raise _Refused("changes a container that is in use, or holds itself")
    if isinstance(box.value, np.dtype):
        _set_dtype(box, _items(state))
    else:
        _set_array(m, box, _items(state))
        box.open = False


def _put(read: Callable[[_Machine], int]) -> _Instruction:
    def instruction(m: _Machine) -> None:
        index = read(m)
        if index > len(m.data):
            raise ValueError(f"a memo of {index} values")
        if index >= len(m.memo):
            m.memo += [_NOTHING] * (index + 1 - len(m.memo))
        m.memo[index] = m.stack[-1]

    return instruction


def _get(read: Callable[[_Machine], int]) -> _Instruction:
    def instruction(m: _Machine) -> None:
        index = read(m)
        value = m.memo[index] if index < len(m.memo) else _NOTHING
        if value is _NOTHING:
            raise ValueError(f"no value was kept as {index}")
        if type(value) is _Box:
            value.open = False
        m.pay(_size(value))
        m.stack.append(value)

    return instruction


def _index(size: int) -> Callable[[_Machine], int]:
    return lambda m: m.number(size)


def _index_line(m: _Machine) -> int:
    line = m.line(limit=20)
    if not line.isdigit():
        raise ValueError("wanted the digits of a memo index")
    return int(line)


def _memoize(m: _Machine) -> None:
    m.memo.append(m.stack[-1])


def _instance_line(m: _Machine) -> None:
    raise _Refused(f"asks to run {_printable(m.line().decode())}.{_printable(m.line().decode())}; not a data file")


def _instance(depth: int) -> _Instruction:
    """Building an instance of the class that lies so deep on the stack, or, at 0, right after the mark."""

    def instruction(m: _Machine) -> None:
        kind = m.stack[-depth] if depth else m.marked()[0]
        raise _Refused(f"asks to run {_kind(kind)}; not a data file")

    return instruction


def _refuse(what: str) -> _Instruction:
    def instruction(m: _Machine) -> None:
        raise _Refused(f"{what}; not a data file")

    return instruction


_DOUBLE = struct.Struct(">d").unpack_from
_NOTHING = object()
_TABLE: dict[str, _Instruction] = {
    "PROTO": _proto,
    "FRAME": _frame,
    "MARK": _mark,
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
    "BINSTRING": _text(4, "latin-1"),
    "SHORT_BINSTRING": _text(1, "latin-1"),
    "UNICODE": _text_line,
    "SHORT_BINUNICODE": _text(1),
    "BINUNICODE": _text(4),
    "BINUNICODE8": _text(8),
    "SHORT_BINBYTES": _bytes(1),
    "BINBYTES": _bytes(4),
    "BINBYTES8": _bytes(8),
    "BYTEARRAY8": _bytearray8,
    "EMPTY_LIST": _empty(list),
    "LIST": _list,
    "APPEND": _append,
    "APPENDS": _appends,
    "EMPTY_DICT": _empty(dict),
    "DICT": _dict,
    "SETITEM": _setitem,
    "SETITEMS": _setitems,
    "EMPTY_SET": _empty(set),
    "ADDITEMS": _additems,
    "FROZENSET": _frozenset,
    "EMPTY_TUPLE": _tuple_of(0),
    "TUPLE": _tuple,
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "REDUCE": _reduce,
    "BUILD": _build,
    "PUT": _put(_index_line),
    "BINPUT": _put(_index(1)),
    "LONG_BINPUT": _put(_index(4)),
    "MEMOIZE": _memoize,
    "GET": _get(_index_line),
    "BINGET": _get(_index(1)),
    "LONG_BINGET": _get(_index(4)),
    "INST": _instance_line,
    "OBJ": _instance(0),
    "NEWOBJ": _instance(2),
    "NEWOBJ_EX": _instance(3),
    "EXT1": _refuse("asks to run what is registered as an extension"),
    "EXT2": _refuse("asks to run what is registered as an extension"),
    "EXT4": _refuse("asks to run what is registered as an extension"),
    "PERSID": _refuse("asks for an object outside of the file"),
    "BINPERSID": _refuse("asks for an object outside of the file"),
    "NEXT_BUFFER": _refuse("asks for a buffer outside of the file"),
    "READONLY_BUFFER": _refuse("asks for a buffer outside of the file"),
    # Data need these only where a container holds itself.
    "POP": _refuse("has a container that holds itself"),
    "POP_MARK": _refuse("has a container that holds itself"),
    "DUP": _refuse("has the instruction DUP"),
}
_INSTRUCTIONS = {ord(op.code): (op.name, _TABLE[op.name]) for op in pickletools.opcodes if op.name != "STOP"}


# -- calls -------------------------------------------------------------------------------------------------------------

_DTYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|c8|c16|[SU](0|[1-9][0-9]{0,6})|O[48]?)")


def _wrong(what: str, arguments: Iterable[Any]) -> NoReturn:
    got = ", ".join(_kind(argument) for argument in list(arguments)[:6])
    raise TypeError(f"wanted {what}, got ({got})")


def _raw(value: Any) -> bytes | bytearray | memoryview:
    """The bytes of an array; Python 2 kept them in what is read as text."""
    if isinstance(value, bytes | bytearray | memoryview):
        return value
    if type(value) is str:
        return value.encode("latin-1")
    raise TypeError(f"wanted the bytes of an array, got {_kind(value)}")


def _data_type(value: Any) -> np.dtype[Any]:
    if type(value) is not _Box or not isinstance(value.value, np.dtype):
        raise TypeError(f"wanted a data type, got {_kind(value)}")
    value.open = False
    return value.value


def _shape(m: _Machine, value: Any) -> tuple[int, ...]:
    shape = tuple(_items(value))
    if len(shape) > 32 or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError("wanted a shape of at most 32 sizes, none below 0")
    # Rows of no size take no bytes, but who walks through them takes time.
    m.pay(prod(max(size, 1) for size in shape) if 0 in shape else 0)
    return shape


def _values(raw: bytes | bytearray | memoryview, dtype: np.dtype[Any], count: int) -> np.ndarray:
    """Bytes as an array `(count,)` that owns its memory, in the machine's byte order."""
    size = memoryview(raw).nbytes
    if dtype.hasobject or dtype.itemsize == 0 or size != count * dtype.itemsize:
        raise ValueError(f"an array of {count} values of {dtype.str} in {size} bytes")
    if count == 0:
        return np.empty(0, dtype.newbyteorder("="))
    values = np.frombuffer(raw, dtype)
    if dtype.kind == "b":
        return values.view(np.uint8) != 0
    if dtype.kind == "U":
        codes = np.frombuffer(raw, np.dtype(np.uint32).newbyteorder(dtype.byteorder))
        if codes.max() > 0x10FFFF or ((codes >= 0xD800) & (codes <= 0xDFFF)).any():
            raise ValueError("characters that are not Unicode")
    return values.astype(dtype.newbyteorder("="))


def _call_dtype(m: _Machine, arguments: list[Any]) -> _Box:
    name = arguments[0] if arguments else None
    if not 1 <= len(arguments) <= 3 or type(name) is not str:
        _wrong("the name of a data type", arguments)
    if not _DTYPE.fullmatch(name):
        raise _Refused(f"has an array of type {_printable(name)}; wanted booleans, numbers, text, bytes or objects")
    return _Box(np.dtype("O" if name.lstrip("<>|=").startswith("O") else name))


def _set_dtype(box: _Box, state: list[Any]) -> None:
    if len(state) < 8 or type(state[0]) is not int or type(state[1]) is not str or state[1] not in tuple("<>|="):
        _wrong("the state of a data type", state)
    if any(part is not None for part in state[2:5]) or len(state) > 9 or any(part is not None for part in state[8:]):
        raise _Refused("has an array of structured type; wanted booleans, numbers, text, bytes or objects")
    if state[5] not in (-1, box.value.itemsize) and box.value.kind != "O":
        raise ValueError("a data type of another size than its own")
    box.value = box.value.newbyteorder(state[1])


def _call_reconstruct(m: _Machine, arguments: list[Any]) -> _Box:
    if len(arguments) != 3 or arguments[0] is not _SYMBOLS["numpy", "ndarray"]:
        _wrong("(numpy.ndarray, tuple, bytes)", arguments)
    return _Box(None)


def _set_array(m: _Machine, box: _Box, state: list[Any]) -> None:
    if len(state) != 5 or type(state[0]) is not int or type(state[3]) not in (bool, int):
        _wrong("the state of an array", state)
    shape, dtype = _shape(m, state[1]), _data_type(state[2])
    order: Literal["C", "F"] = "F" if state[3] else "C"
    if not dtype.hasobject:
        box.value = _values(_raw(state[4]), dtype, prod(shape)).reshape(shape, order=order)
        box.size += box.value.nbytes
        return
    items = state[4]
    if type(items) is not _Box or type(items.value) is not list:
        raise TypeError(f"wanted the list of an object array, got {_kind(items)}")
    if len(items.value) != prod(shape):
        raise ValueError(f"an object array of {prod(shape)} values from {len(items.value)}")
    m.close(box, [items])
    # Their list is in C order, whatever the order of the array.
    values = np.fromiter(items.value, dtype=object, count=len(items.value)).reshape(shape)
    box.value = np.asarray(values, order=order)


def _call_frombuffer(m: _Machine, arguments: list[Any]) -> _Box:
    if len(arguments) not in (4, 5) or type(arguments[3]) is not str or arguments[3] not in tuple("CFK"):
        _wrong("(bytes, data type, shape, order)", arguments)
    shape = _shape(m, arguments[2])
    values = _values(_raw(arguments[0]), _data_type(arguments[1]), prod(shape))
    box = _Box(None)
    if arguments[3] == "K":
        axes = _items(arguments[4])
        if not all(type(axis) is int for axis in axes) or sorted(axes) != list(range(len(shape))):
            _wrong("the order of the axes", axes)
        box.value = values.reshape(shape).transpose(axes)
    else:
        box.value = values.reshape(shape, order="F" if arguments[3] == "F" else "C")
    box.size += box.value.nbytes
    box.open = False
    return box


def _call_scalar(m: _Machine, arguments: list[Any]) -> object:
    if len(arguments) != 2:
        _wrong("(data type, bytes)", arguments)
    dtype, raw = _data_type(arguments[0]), _raw(arguments[1])
    if dtype.itemsize == 0 and not raw:  # NumPy's empty text
        return dtype.type()
    return _values(raw, dtype, 1)[0]


def _call_encode(m: _Machine, arguments: list[Any]) -> bytes:
    if not 1 <= len(arguments) <= 2 or any(type(argument) is not str for argument in arguments):
        _wrong("(str, 'latin1')", arguments)
    if arguments[1:] not in (["latin1"], ["latin-1"]):
        raise _Refused(f"asks for an encoding other than latin1: {_printable(arguments[-1])}")
    return arguments[0].encode("latin-1")


def _call_bytes(m: _Machine, arguments: list[Any]) -> bytes:
    if arguments:
        _wrong("()", arguments)
    return b""


def _call_bytearray(m: _Machine, arguments: list[Any]) -> bytearray:
    if not arguments:
        return bytearray()
    if len(arguments) == 1 and isinstance(arguments[0], bytes | memoryview):
        return bytearray(arguments[0])
    return bytearray(_call_encode(m, arguments))


def _call_complex(m: _Machine, arguments: list[Any]) -> complex:
    if len(arguments) != 2 or not all(type(part) is float for part in arguments):
        _wrong("(float, float)", arguments)
    return complex(*arguments)


def _call_set(kind: type) -> Callable[[_Machine, list[Any]], _Box]:
    def call(m: _Machine, arguments: list[Any]) -> _Box:
        if len(arguments) > 1 or any(_kind(argument) != "list" for argument in arguments):
            _wrong("(list)", arguments)
        return m.make_set(kind, [item for argument in arguments for item in argument.value])

    return call


def _call_ordered_dict(m: _Machine, arguments: list[Any]) -> _Box:
    box = _Box({})
    if not arguments:
        return box
    if len(arguments) > 1 or _kind(arguments[0]) != "list":
        _wrong("(list)", arguments)
    # Python 2 gives a list of pairs, themselves lists.
    pairs = arguments[0].value
    if not all(type(pair) in (list, tuple) and len(pair) == 2 for pair in pairs):
        raise TypeError("wanted pairs")
    m.update(box, [part for pair in pairs for part in pair])
    box.size += arguments[0].size
    box.depth = max(box.depth, arguments[0].depth)
    return box


def _call_default_dict(m: _Machine, arguments: list[Any]) -> _Box:
    if len(arguments) > 1 or any(argument is not None and type(argument) is not _Symbol for argument in arguments):
        _wrong("(type)", arguments)
    return _Box({})


_MODULES = {"__builtin__": "builtins", "numpy.core.multiarray": "numpy._core.multiarray"}
_MODULES["numpy.core.numeric"] = "numpy._core.numeric"
_CALLS: dict[tuple[str, str], Callable[[_Machine, list[Any]], object] | None] = {
    ("numpy", "ndarray"): None,
    ("numpy", "dtype"): _call_dtype,
    ("numpy._core.multiarray", "_reconstruct"): _call_reconstruct,
    ("numpy._core.multiarray", "scalar"): _call_scalar,
    ("numpy._core.numeric", "_frombuffer"): _call_frombuffer,
    ("_codecs", "encode"): _call_encode,
    ("collections", "OrderedDict"): _call_ordered_dict,
    ("collections", "defaultdict"): _call_default_dict,
    ("builtins", "bytes"): _call_bytes,
    ("builtins", "bytearray"): _call_bytearray,
    ("builtins", "complex"): _call_complex,
    ("builtins", "set"): _call_set(set),
    ("builtins", "frozenset"): _call_set(frozenset),
    # Only as what a default dictionary would make.
    **{("builtins", name): None for name in ("list", "dict", "tuple", "int", "float", "str", "bool")},
}
_SYMBOLS = {key: _Symbol(".".join(key), call) for key, call in _CALLS.items()}
