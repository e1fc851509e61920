"""The instructions of pickles, each a function that changes the machine, and the loop that runs them."""

from __future__ import annotations

import pickletools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from disentangle.data.pickles.calls import set_array, set_dtype, symbol
from disentangle.data.pickles.machine import (
    DEPTH,
    UNFINISHED,
    Box,
    Machine,
    Refused,
    items_of,
    kind_of,
    printable,
    size_of,
)
from disentangle.data.pickles.scalars import SCALARS, Instruction

__all__ = ["run"]


def run(m: Machine) -> object:
    """The value that the program leaves."""
    data, end = m.data, len(m.data)
    while m.at < end:
        m.start = m.at
        code = data[m.at]
        m.at += 1
        if code == 0x2E:  # STOP
            m.name = "STOP"
            if m.below or len(m.stack) != 1:
                raise ValueError("expected one value on the stack")
            return m.finish(m.stack[0])
        if code not in _INSTRUCTIONS:
            m.name = f"0x{code:02x}"
            raise ValueError("no instruction of a pickle")
        m.name, instruction = _INSTRUCTIONS[code]
        instruction(m)
    return m.truncated()


def _proto(m: Machine) -> None:
    version = m.number(1)
    if version > 5:
        raise Refused(f"expected a pickle of protocol 5 or below, got {version}")


def _frame(m: Machine) -> None:
    if m.number(8) > len(m.data) - m.at:
        m.truncated()


def _mark(m: Machine) -> None:
    if len(m.below) > 4 * DEPTH:
        raise Refused(f"nested deeper than {DEPTH} levels")
    m.below.append(m.stack)
    m.stack = []


def _empty(kind: Callable[[], Any]) -> Instruction:
    return lambda m: m.push(Box(kind()))


def _list(m: Machine) -> None:
    box = Box([])
    box.value = m.take(box, m.marked())
    m.push(box)


def _append(m: Machine) -> None:
    item = m.stack.pop()
    box = m.top(list)
    if type(item) in UNFINISHED:
        (item,) = m.take(box, [item])
    else:
        box.size += sys.getsizeof(item) + 8
    box.value.append(item)


def _appends(m: Machine) -> None:
    items = m.marked()
    box = m.top(list)
    box.value += m.take(box, items)


def _dict(m: Machine) -> None:
    box = Box({})
    m.update(box, m.marked())
    m.push(box)


def _setitem(m: Machine) -> None:
    items = m.stack[-2:]
    del m.stack[-2:]
    m.update(m.top(dict), items)


def _setitems(m: Machine) -> None:
    items = m.marked()
    m.update(m.top(dict), items)


def _additems(m: Machine) -> None:
    items = m.marked()
    box = m.top(set)
    box.value.update(m.keys(box, m.take(box, items)))


def _frozenset(m: Machine) -> None:
    m.push(m.make_set(frozenset, m.marked()))


def _tuple(m: Machine) -> None:
    m.push(m.make_tuple(m.marked()))


def _tuple_of(size: int) -> Instruction:
    def instruction(m: Machine) -> None:
        if len(m.stack) < size:
            raise IndexError("the stack is too short")
        cut = len(m.stack) - size
        items = m.stack[cut:]
        del m.stack[cut:]
        m.push(m.make_tuple(items))

    return instruction


def _global(m: Machine) -> None:
    m.stack.append(symbol(m.line().decode(), m.line().decode()))


def _stack_global(m: Machine) -> None:
    name, module = m.stack.pop(), m.stack.pop()
    if type(name) is not str or type(module) is not str:
        raise TypeError(f"expected two names, got {kind_of(module)} and {kind_of(name)}")
    m.stack.append(symbol(module, name))


def _reduce(m: Machine) -> None:
    arguments, function = m.stack.pop(), m.stack.pop()
    value = m.call(function, arguments)
    if isinstance(value, Box):
        m.push(value)
    else:
        m.stack.append(value)


def _build(m: Machine) -> None:
    state = m.stack.pop()
    box = m.stack[-1]
    if type(box) is not Box or not (isinstance(box.value, np.dtype) or (box.value is None and box.items is None)):
        raise Refused(f"asks to set the state of {kind_of(box)}; not a data file")
    if not box.open:
        raise Refused("changes a container that is in use, or holds itself")
    if isinstance(box.value, np.dtype):
        set_dtype(box, items_of(state))
    else:
        set_array(m, box, items_of(state))
        box.open = False


def _put(read: Callable[[Machine], int]) -> Instruction:
    def instruction(m: Machine) -> None:
        index = read(m)
        if index > len(m.data):
            raise ValueError(f"a memo of {index} values")
        if index >= len(m.memo):
            m.memo += [_NOTHING] * (index + 1 - len(m.memo))
        m.memo[index] = m.stack[-1]

    return instruction


def _get(read: Callable[[Machine], int]) -> Instruction:
    def instruction(m: Machine) -> None:
        index = read(m)
        value = m.memo[index] if index < len(m.memo) else _NOTHING
        if value is _NOTHING:
            raise ValueError(f"no value was kept as {index}")
        if type(value) is Box:
            value.open = False
        m.pay(size_of(value))
        m.stack.append(value)

    return instruction


def _index(size: int) -> Callable[[Machine], int]:
    return lambda m: m.number(size)


def _index_line(m: Machine) -> int:
    line = m.line(limit=20)
    if not line.isdigit():
        raise ValueError("expected the digits of a memo index")
    return int(line)


def _memoize(m: Machine) -> None:
    m.memo.append(m.stack[-1])


def _instance_line(m: Machine) -> None:
    raise Refused(f"asks to run {printable(m.line().decode())}.{printable(m.line().decode())}; not a data file")


def _instance(depth: int) -> Instruction:
    """Building an instance of the class that lies so deep on the stack, or, at 0, right after the mark."""

    def instruction(m: Machine) -> None:
        kind = m.stack[-depth] if depth else m.marked()[0]
        raise Refused(f"asks to run {kind_of(kind)}; not a data file")

    return instruction


def _refuse(what: str) -> Instruction:
    def instruction(m: Machine) -> None:
        raise Refused(f"{what}; not a data file")

    return instruction


_NOTHING = object()
_TABLE: dict[str, Instruction] = {
    "PROTO": _proto,
    "FRAME": _frame,
    "MARK": _mark,
    **SCALARS,
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
