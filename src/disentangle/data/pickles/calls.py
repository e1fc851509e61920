"""What pickles may call, and what is done instead: arrays, data types, byte strings and a few containers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from math import prod
from typing import Any, Literal, NoReturn

import numpy as np

from disentangle.data.pickles.machine import Box, Machine, Refused, Symbol, items_of, kind_of, printable

__all__ = ["set_array", "set_dtype", "symbol"]

_DTYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|c8|c16|[SU](0|[1-9][0-9]{0,6})|O[48]?)")


def _wrong(what: str, arguments: Iterable[Any]) -> NoReturn:
    got = ", ".join(kind_of(argument) for argument in list(arguments)[:6])
    raise TypeError(f"expected {what}, got ({got})")


def _raw(value: Any) -> bytes | bytearray | memoryview:
    """The bytes of an array; Python 2 kept them in strings, of which those in ASCII are read as text."""
    if isinstance(value, bytes | bytearray | memoryview):
        return value
    if type(value) is str:
        return value.encode("latin-1")
    raise TypeError(f"expected the bytes of an array, got {kind_of(value)}")


def _data_type(value: Any) -> np.dtype[Any]:
    if type(value) is not Box or not isinstance(value.value, np.dtype):
        raise TypeError(f"expected a data type, got {kind_of(value)}")
    value.open = False
    return value.value


def _shape(m: Machine, value: Any) -> tuple[int, ...]:
    shape = tuple(items_of(value))
    if len(shape) > 32 or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError("expected a shape of at most 32 sizes, none below 0")
    # Rows of no size take no bytes, but who walks through them takes time.
    m.pay(prod(max(size, 1) for size in shape) if 0 in shape else 0)
    return shape


def _values(raw: bytes | bytearray | memoryview, dtype: np.dtype[Any], count: int) -> np.ndarray:
    """Bytes as an array `(count,)` that owns its memory, in the machine's byte order."""
    size = memoryview(raw).nbytes
    if dtype.hasobject or dtype.itemsize == 0 or size != count * dtype.itemsize:
        raise ValueError(f"expected {count} values of {dtype.str}, got {size} bytes")
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


def _call_dtype(m: Machine, arguments: list[Any]) -> Box:
    name = arguments[0] if arguments else None
    if not 1 <= len(arguments) <= 3 or type(name) is not str:
        _wrong("the name of a data type", arguments)
    if not _DTYPE.fullmatch(name):
        raise Refused(f"expected arrays of booleans, numbers, text, bytes or objects, got type {printable(name)}")
    return Box(np.dtype("O" if name.lstrip("<>|=").startswith("O") else name))


def set_dtype(box: Box, state: list[Any]) -> None:
    """Gives a data type its byte order, which pickles tell after the type itself."""
    if len(state) < 8 or type(state[0]) is not int or type(state[1]) is not str or state[1] not in tuple("<>|="):
        _wrong("the state of a data type", state)
    if any(part is not None for part in state[2:5]) or len(state) > 9 or any(part is not None for part in state[8:]):
        raise Refused("expected arrays of booleans, numbers, text, bytes or objects, got a structured type")
    if state[5] not in (-1, box.value.itemsize) and box.value.kind != "O":
        raise ValueError("expected a data type of its own size, got another")
    box.value = box.value.newbyteorder(state[1])


def _call_reconstruct(m: Machine, arguments: list[Any]) -> Box:
    if len(arguments) != 3 or arguments[0] is not _SYMBOLS["numpy", "ndarray"]:
        _wrong("(numpy.ndarray, tuple, bytes)", arguments)
    return Box(None)


def set_array(m: Machine, box: Box, state: list[Any]) -> None:
    """Gives an array its shape, data type and values, which pickles tell after the array itself."""
    if len(state) != 5 or type(state[0]) is not int or type(state[3]) not in (bool, int):
        _wrong("the state of an array", state)
    shape, dtype = _shape(m, state[1]), _data_type(state[2])
    order: Literal["C", "F"] = "F" if state[3] else "C"
    if not dtype.hasobject:
        box.value = _values(_raw(state[4]), dtype, prod(shape)).reshape(shape, order=order)
        box.size += box.value.nbytes
        return
    items = state[4]
    if type(items) is not Box or type(items.value) is not list:
        raise TypeError(f"expected the list of an object array, got {kind_of(items)}")
    if len(items.value) != prod(shape):
        raise ValueError(f"expected {prod(shape)} values of an object array, got {len(items.value)}")
    m.close(box, [items])
    # Their list is in C order, whatever the order of the array.
    values = np.fromiter(items.value, dtype=object, count=len(items.value)).reshape(shape)
    box.value = np.asarray(values, order=order)


def _call_frombuffer(m: Machine, arguments: list[Any]) -> Box:
    if len(arguments) not in (4, 5) or type(arguments[3]) is not str or arguments[3] not in tuple("CFK"):
        _wrong("(bytes, data type, shape, order)", arguments)
    shape = _shape(m, arguments[2])
    values = _values(_raw(arguments[0]), _data_type(arguments[1]), prod(shape))
    box = Box(None)
    if arguments[3] == "K":
        axes = items_of(arguments[4])
        if not all(type(axis) is int for axis in axes) or sorted(axes) != list(range(len(shape))):
            _wrong("the order of the axes", axes)
        box.value = values.reshape(shape).transpose(axes)
    else:
        box.value = values.reshape(shape, order="F" if arguments[3] == "F" else "C")
    box.size += box.value.nbytes
    box.open = False
    return box


def _call_scalar(m: Machine, arguments: list[Any]) -> object:
    if len(arguments) != 2:
        _wrong("(data type, bytes)", arguments)
    dtype, raw = _data_type(arguments[0]), _raw(arguments[1])
    if dtype.itemsize == 0 and not raw:  # NumPy's empty text
        return dtype.type()
    return _values(raw, dtype, 1)[0]


def _call_encode(m: Machine, arguments: list[Any]) -> bytes:
    if not 1 <= len(arguments) <= 2 or any(type(argument) is not str for argument in arguments):
        _wrong("(str, 'latin1')", arguments)
    if arguments[1:] not in (["latin1"], ["latin-1"]):
        raise Refused(f"expected the encoding latin1, got {printable(arguments[-1])}")
    return arguments[0].encode("latin-1")


def _call_bytes(m: Machine, arguments: list[Any]) -> bytes:
    if arguments:
        _wrong("()", arguments)
    return b""


def _call_bytearray(m: Machine, arguments: list[Any]) -> bytearray:
    if not arguments:
        return bytearray()
    if len(arguments) == 1 and isinstance(arguments[0], bytes | memoryview):
        return bytearray(arguments[0])
    return bytearray(_call_encode(m, arguments))


def _call_complex(m: Machine, arguments: list[Any]) -> complex:
    if len(arguments) != 2 or not all(type(part) is float for part in arguments):
        _wrong("(float, float)", arguments)
    return complex(*arguments)


def _call_set(kind: type) -> Callable[[Machine, list[Any]], Box]:
    def call(m: Machine, arguments: list[Any]) -> Box:
        if len(arguments) > 1 or any(kind_of(argument) != "list" for argument in arguments):
            _wrong("(list)", arguments)
        return m.make_set(kind, [item for argument in arguments for item in argument.value])

    return call


def _call_ordered_dict(m: Machine, arguments: list[Any]) -> Box:
    box = Box({})
    if not arguments:
        return box
    if len(arguments) > 1 or kind_of(arguments[0]) != "list":
        _wrong("(list)", arguments)
    # Python 2 gives a list of pairs, themselves lists.
    pairs = arguments[0].value
    if not all(type(pair) in (list, tuple) and len(pair) == 2 for pair in pairs):
        raise TypeError("expected pairs")
    m.update(box, [part for pair in pairs for part in pair])
    box.size += arguments[0].size
    box.depth = max(box.depth, arguments[0].depth)
    return box


def _call_default_dict(m: Machine, arguments: list[Any]) -> Box:
    if len(arguments) > 1 or any(argument is not None and type(argument) is not Symbol for argument in arguments):
        _wrong("(type)", arguments)
    return Box({})


_MODULES = {
    "__builtin__": "builtins",
    "numpy.core.multiarray": "numpy._core.multiarray",
    "numpy.core.numeric": "numpy._core.numeric",
}
_CALLS: dict[tuple[str, str], Callable[[Machine, list[Any]], object] | None] = {
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
# What other packages leave in pickles, and how it becomes an array.
_CONVERSIONS = {
    "torch": "tensors of torch: convert each with .detach().cpu().numpy()",
    "tensorflow": "tensors of TensorFlow: convert each with .numpy()",
    "jax": "arrays of JAX: convert each with numpy.asarray",
    "jaxlib": "arrays of JAX: convert each with numpy.asarray",
    "cupy": "arrays of CuPy: convert each with .get()",
    "pandas": "frames or series of pandas: convert each with .to_numpy(), or read them by recordings_from_pandas,",
    "scipy": "sparse matrices of SciPy: convert each with .toarray()",
}
_SYMBOLS = {key: Symbol(".".join(key), call) for key, call in _CALLS.items()}


def symbol(module: str, name: str) -> Symbol:
    """The global of that name, if it is in the table."""
    found = _SYMBOLS.get((_MODULES.get(module, module), name))
    if found is None:
        if hint := _CONVERSIONS.get(module.partition(".")[0]):
            raise Refused(f"expected NumPy arrays, got {hint} before pickling ({printable(module)}.{printable(name)})")
        raise Refused(f"asks to run {printable(module)}.{printable(name)}; not a data file")
    return found
