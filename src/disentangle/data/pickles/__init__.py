"""Reads the pickles that data sets are handed around in, as data: nothing in the file is ever run.

A pickle is a program for a small stack machine, some of whose instructions import and call what they name. The interpreter
here knows the instructions that containers, text, numbers and NumPy arrays need. A global is a symbol, compared with a short
table and never looked up; a call is a function of the library's own that checks its arguments and builds a value.

Other harm that a stranger's file could do is bounded as well:

- *Memory.* Every container, and every further use of a value, is paid for from an allowance in proportion to the file. So a
  shared value counts as often as it is used, and walking through the result takes time in proportion to the file.
- *Depth.* Values are at most 100 deep. A container in use cannot be changed any more, so none holds itself.
- *Keys* are text and numbers, or tuples of them, few of which may share a hash.
- *Arrays* have a plain data type and exactly the bytes that their shape needs.
"""

from __future__ import annotations

import os

from disentangle.data.opening import read_bytes
from disentangle.data.pickles.machine import Machine, Refused
from disentangle.data.pickles.opcodes import run
from disentangle.errors import DataError

__all__ = ["load_pickle"]


def load_pickle(path: str | os.PathLike[str]) -> object:
    """Reads a pickle of containers, text, numbers and NumPy arrays, protocols 0 to 5, running nothing that it asks for.

    The value is what `pickle.load` gives, except that ordered and default dictionaries become `dict`, byte strings of
    Python 2 become text (UTF-8, or Latin-1 where they are not that), and arrays own their memory and have the machine's
    byte order.

    Arguments:
        path: The file.

    Returns:
        The value. NumPy data types are booleans, integers, floats, complex numbers, text, bytes and objects.

    Raises:
        DataError: If the file cannot be read, is not a pickle, is damaged, or asks for anything else, a call for example.

    Example:
        >>> import pickle, tempfile
        >>> import numpy as np
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     pickle.dump({"audio": np.arange(3.0), "raw_text": ["so good", ""]}, file)
        ...     file.flush()
        ...     load_pickle(file.name)
        {'audio': array([0., 1., 2.]), 'raw_text': ['so good', '']}
    """
    data = read_bytes(path, "a pickle")
    if not data:
        raise DataError(f"{path}: expected a pickle, got an empty file")
    machine = Machine(data)
    try:
        return run(machine)
    except Refused as error:
        raise DataError(f"{path}: {error}") from None
    except MemoryError as error:
        raise DataError(f"{path}: does not fit into memory") from error
    except Exception as error:
        # Whatever else a damaged program leads to: a stack of the wrong types, text that is not UTF-8.
        what = " ".join(str(error).split())[:120] or type(error).__name__
        where = f"{machine.name} at byte {machine.start}"
        raise DataError(f"{path}: not a pickle, or a damaged one: {where}: {what}") from error
