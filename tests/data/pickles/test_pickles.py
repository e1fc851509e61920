import collections
import os
import pickle
import random
import re
import struct
import tracemalloc
from pathlib import Path

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from disentangle.data.pickles import load_pickle, machine
from disentangle.errors import DataError
from tests.data.mutations import layouts, mutate, objects, samples

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
relaxed = settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("pickles") / "file.pkl"


def load(file: Path, data: bytes) -> object:
    file.write_bytes(data)
    return load_pickle(file)


def same(a, b) -> bool:
    """Whether two values are equal in type and content, NaN and the order of a dictionary included."""
    if isinstance(b, collections.OrderedDict | collections.defaultdict):
        b = dict(b)
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return same(list(a.items()), list(b.items()))
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray):
        if a.dtype != b.dtype.newbyteorder("=") or a.shape != b.shape:
            return False
        if a.dtype == object:
            return all(map(same, a.ravel(), b.ravel()))
        return np.array_equal(a, b, equal_nan=a.dtype.kind in "fc") and a.flags.writeable
    if isinstance(a, float | complex | np.number):
        return np.array_equal(a, b, equal_nan=True)
    return a == b


# -- what data are made of ---------------------------------------------------------------------------------------------

SURROGATE = re.compile("[\ud800-\udfff]")  # no text; refused
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
KEYS = st.one_of(TEXT, st.binary(), st.integers(), st.floats(allow_nan=False), st.booleans(), st.none())
ARRAYS = hnp.arrays(
    st.one_of(
        hnp.boolean_dtypes(),
        hnp.integer_dtypes(),
        hnp.unsigned_integer_dtypes(),
        hnp.floating_dtypes(sizes=(16, 32, 64)),
        hnp.complex_number_dtypes(sizes=(64, 128)),
        hnp.unicode_string_dtypes(),
        hnp.byte_string_dtypes(),
    ),
    hnp.array_shapes(min_dims=0, min_side=0, max_dims=4, max_side=4),
).filter(lambda array: array.dtype.kind != "U" or not any(map(SURROGATE.search, array.flat)))
LAID_OUT = st.builds(
    lambda array, how: {
        "C": array,
        "F": np.asfortranarray(array),
        "T": array.T,
        "swapped": np.moveaxis(array, 0, -1) if array.ndim else array,
        "sliced": array[::-1] if array.ndim else array,
    }[how],
    ARRAYS,
    st.sampled_from(["C", "F", "T", "swapped", "sliced"]),
)
SCALARS = ARRAYS.filter(lambda array: array.size > 0).map(lambda array: array.flat[0])
LEAVES = st.one_of(
    KEYS, st.floats(), st.complex_numbers(), st.binary().map(bytearray), SCALARS, LAID_OUT, st.just(np.str_(""))
)


VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.lists(inner, max_size=4).map(objects),
        st.dictionaries(st.one_of(KEYS, st.tuples(KEYS, KEYS)), inner, max_size=4),
        st.dictionaries(KEYS, inner, max_size=4).map(collections.OrderedDict),
        st.dictionaries(KEYS, inner, max_size=4).map(lambda each: collections.defaultdict(list, each)),
        st.sets(KEYS, max_size=4),
        st.frozensets(KEYS, max_size=4),
        inner.map(lambda each: [each, each, (each, {"again": each})]),
    ),
    max_leaves=12,
)


@relaxed
@given(value=VALUES, protocol=st.sampled_from(PROTOCOLS))
def test_gives_what_was_pickled(file, value, protocol):
    assert same(load(file, pickle.dumps(value, protocol)), value)


@relaxed
@given(array=LAID_OUT, protocol=st.sampled_from(PROTOCOLS))
def test_gives_the_array_that_was_pickled(file, array, protocol):
    assert same(load(file, pickle.dumps(array, protocol)), array)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_large_values_in_batches(file, protocol):
    value = {
        "floats": [i / 7 for i in range(5000)],
        "text": [f"word {i} é" for i in range(3000)],
        "pairs": {i: (i, -i) for i in range(3000)},
        "array": np.arange(30_000.0).reshape(3, 100, 100),
        "bytes": bytes(range(256)) * 300,
        "set": set(range(3000)),
    }
    assert same(load(file, pickle.dumps(value, protocol)), value)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_shared_values_stay_shared(file, protocol):
    frames = np.arange(6.0).reshape(2, 3)
    names = ["a"]
    first, second, same_names, again = load(file, pickle.dumps((frames, frames, names, [names]), protocol))
    assert first is second
    assert again[0] is same_names


def test_an_object_array_of_many_dimensions_and_of_nested_arrays(file):
    inner = objects([np.arange(3), [1, [2]], objects(["x", None])])
    array = np.empty((2, 2), object, order="F")
    array[0, 0], array[0, 1], array[1, 0], array[1, 1] = inner, "b", (3,), np.float32(4)
    for protocol in PROTOCOLS:
        assert same(load(file, pickle.dumps(array, protocol)), array)


def test_python_2(file):
    # An array, a set, an ordered dictionary and text, as Python 2 wrote them.
    dtype = b"cnumpy\ndtype\n(S'f4'\nI0\nI1\ntR(I3\nS'>'\nNNNI-1\nI-1\nI0\ntb"
    raw = b"\\x00\\x00\\x80?".replace(b"\\x00\\x00\\x80?", b"?\\x80\\x00\\x00@\\x00\\x00\\x00")
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I2\nt" + dtype + b"I00\nS'"
    assert load(file, array + raw + b"'\ntb.").tolist() == [1.0, 2.0]
    assert load(file, b"(dp0\nS'caf\\xe9\\n'\np1\nV\\u00e9\np2\nsS\"it's\"\nL12L\ns.") == {"café\n": "é", "it's": 12}
    assert load(file, b"c__builtin__\nset\np0\n((lp1\nI1\naI2\natp2\nRp3\n.") == {1, 2}
    assert load(file, b"ccollections\nOrderedDict\n((l(lS'a'\naI1\naa(lS'b'\naI01\naatR.") == {"a": 1, "b": True}
    assert load(file, b"\x80\x02]q\x00(U\x02\xe9xT\x01\x00\x00\x00ye.") == ["éx", "y"]
    assert load(file, b"V\\ud83d\\ude00\n.") == "😀"


def in_python_2(text: bytes) -> list[bytes]:
    """The pickles of a list of a string, as Python 2 wrote them: with each of its three instructions."""
    quoted = repr(text)[1:].encode()
    long, short = struct.pack("<I", len(text)), bytes([len(text)])
    return [b"(lS" + quoted + b"\na.", b"\x80\x02]T" + long + text + b"a.", b"\x80\x02]U" + short + text + b"a."]


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        ("café — 我喜欢 😀".encode(), "café — 我喜欢 😀"),
        ("café".encode("latin-1"), "café"),
        ("café ".encode() + b"\xe9", "cafÃ© é"),  # not UTF-8 as a whole
        (b"so good", "so good"),
    ],
)
def test_strings_of_python_2_are_utf_8_where_they_can_be(file, raw, wanted):
    for data in in_python_2(raw):
        (text,) = load(file, data)
        assert (text, type(text)) == (wanted, str)


def test_strings_of_python_2_in_all_that_can_hold_one(file):
    short = b"U\x03\xe2\x82\xac"
    for data, wanted in (
        (short + b".", "€"),
        (b"(" + short + b"t.", ("€",)),
        (b"(" + short + short + b"d.", {"€": "€"}),
        (b"}" + short + b"K\x01s.", {"€": 1}),
        (b"(" + short + b"q\x00h\x00l.", ["€", "€"]),
        (array(b"(K\x01t", b"(l" + short + b"a", OBJECT), np.array(["€"], object)),
    ):
        assert same(load(file, data), wanted)


def test_text_of_python_3_is_as_it_was_written(file):
    for protocol in PROTOCOLS:
        assert load(file, pickle.dumps("cafÃ© â\x80\x94", protocol)) == "cafÃ© â\x80\x94"


def test_numbers_of_python_2_whose_bytes_are_utf_8_stay_numbers(file):
    raw = "éçéé".encode()
    text = b"U\x08" + raw
    assert load(file, array(b"(K\x02t", text)).tolist() == np.frombuffer(raw, "<f4").tolist()
    scalar = b"cnumpy.core.multiarray\nscalar\n(" + F4.replace(b"f4", b"f8") + text + b"tR."
    assert load(file, scalar) == np.frombuffer(raw, "<f8")[0]


# -- files that are no data --------------------------------------------------------------------------------------------


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


class State:
    def __init__(self):
        self.value = 1

    def __setstate__(self, state):
        raise AssertionError("ran code of the file")


class Text(str):
    pass


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Call(os.system, "touch ran"), rf"{os.system.__module__}.system"),
        (Call(eval, "1 + 1"), "eval"),
        (Call(getattr, "a", "upper"), "getattr"),
        (Call(__import__, "os"), "__import__"),
        (Call(pickle.loads, b"N."), "loads"),
        (Call(np.load, "x", None, True), "numpy.load"),
        ({"train": [1, State()]}, "State|_reconstructor"),
        (Text("a"), "Text|_reconstructor"),
        (len, "len"),
        (os.path.join, "join"),
        (Path("x"), "Path"),
        (collections.Counter("ab"), "Counter"),
        (range(3), "range"),
        (np.random.default_rng(0), "numpy.random"),
        (np.ma.array([1.0]), "numpy.ma"),
    ],
)
def test_refuses_every_other_global_by_name(file, value, name, protocol):
    with pytest.raises(DataError, match=rf"asks to run [\w.]*({name})[\w.]*; not a data file$"):
        load(file, pickle.dumps(value, protocol))


U4 = b"cnumpy\ndtype\n(U\x02%bI0\nI1\ntR(I3\nU\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
MAKE = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
F4, OBJECT = U4 % b"f4", U4 % b"O8"


def array(shape: bytes, data: bytes, dtype: bytes = F4) -> bytes:
    return MAKE + b"(K\x01" + shape + dtype + b"\x89" + data + b"tb."


@pytest.mark.parametrize(
    ("data", "message"),
    [
        # Code by other ways than a call.
        (b"(S'x'\nios\nsystem\n.", "asks to run os.system; not a data file"),
        (b"(cos\nsystem\nS'x'\no.", "asks to run os.system"),
        (b"(cbuiltins\nset\nS'x'\no.", "asks to run builtins.set; not a data file"),
        (b"\x80\x02cbuiltins\nset\n)\x81.", "asks to run builtins.set; not a data file"),
        (b"\x80\x04cbuiltins\nset\n)}\x92.", "asks to run builtins.set; not a data file"),
        (b"cnumpy\nndarray\n(K\x02tR.", "asks to run numpy.ndarray; not a data file"),
        (b"cnumpy\ndtype.__reduce__\n.", "asks to run numpy.dtype.__reduce__"),
        (b"\x8c\x08builtins\x8c\x04eval\x93.", "asks to run builtins.eval"),
        (b"\x82\x01.", "asks to run what is registered as an extension"),
        (b"\x83\x01\x00.", "asks to run what is registered as an extension"),
        (b"\x84\x01\x00\x00\x00.", "asks to run what is registered as an extension"),
        (b"P1\n.", "asks for an object outside of the file"),
        (b"K\x01Q.", "asks for an object outside of the file"),
        (b"\x80\x05\x97.", "asks for a buffer outside of the file"),
        (b"]}b.", "asks to set the state of list"),
        (b"cbuiltins\nset\n}b.", "asks to set the state of builtins.set"),
        (
            b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x05\x00\x00\x00rot13tR.",
            "expected the encoding latin1, got rot13",
        ),
        # What is no value.
        (b"cnumpy\nndarray\n.", "holds numpy.ndarray itself"),
        (F4 + b".", "holds a NumPy data type itself"),
        (MAKE + b".", "holds an array without its contents"),
        (b"]" + MAKE + b"a.", "holds an array without its contents"),
        # Containers that hold themselves.
        (b"]q\x00h\x00a.", "holds itself"),
        (b"}q\x00K\x01h\x00s.", "holds itself"),
        (b"(]q\x00h\x00\x85a\x85.", "holds itself"),
        (b"(]q\x00h\x00K\x01at.", "holds itself"),
        (b"N0N.", "holds itself"),
        (b"(N1N.", "holds itself"),
        (MAKE + b"q\x00(K\x01(K\x01t" + OBJECT + b"\x89(lh\x00atb.", "holds an array without its contents"),
        # Depth.
        (b"]" * 102 + b"a" * 101 + b".", "nested deeper than 100 levels"),
        (b"N" + b"\x85" * 1_000_000 + b".", "nested deeper than 100 levels"),
        (b"(" * 1_000_000, "nested deeper than 100 levels"),
        # A damaged stack.
        (b".", "STOP at byte 0: expected one value on the stack"),
        (b"NN.", "STOP at byte 2: expected one value on the stack"),
        (b"(N.", "STOP at byte 2: expected one value on the stack"),
        (b"NR.", "REDUCE at byte 1"),
        (b"NNR.", "REDUCE at byte 2: expected a function, got NoneType"),
        (b"t.", "TUPLE at byte 0"),
        (b"N\x87.", "TUPLE3 at byte 1"),
        (b"(\x85.", "TUPLE1 at byte 1"),
        (b"a.", "APPEND at byte 0"),
        (b"NNa.", "APPEND at byte 2: expected list, got NoneType"),
        (b")Na.", "APPEND at byte 2: expected list, got tuple"),
        (b"}(Ne.", "APPENDS at byte 3: expected list, got dict"),
        (b"](NNu.", "SETITEMS at byte 4: expected dict, got list"),
        (b"}(Nu.", "SETITEMS at byte 3: a key without a value"),
        (b"}(N\x90.", "ADDITEMS at byte 3: expected set, got dict"),
        (b"(\x91(N\x90.", "ADDITEMS"),
        (b"NN\x93.", "STACK_GLOBAL at byte 2: expected two names, got NoneType and NoneType"),
        (b"q\x00.", "BINPUT at byte 0"),
        (b"\x94.", "MEMOIZE at byte 0"),
        (b"h\x00.", "BINGET at byte 0: no value was kept as 0"),
        (b"g-1\n.", "GET at byte 0: expected the digits"),
        (b"Nr\xff\xff\xff\xff.", "LONG_BINPUT at byte 1: a memo of 4294967295 values"),
        (b"Np99999999999999999999999\n.", "PUT at byte 1: expected a line of at most 20 bytes, got 23"),
        # Keys.
        (b"}]Ns.", "SETITEM at byte 3: expected a key of text or numbers, got list"),
        (b"}))\x85\x85Ns.", "SETITEM"),
        (b"}N\x85\x85Ns.", "expected a key of text or numbers, got tuple"),
        (b"\x8f(]\x90.", "ADDITEMS at byte 3: expected a key"),
        (b"(" + MAKE + b"(K\x01(K\x00t" + F4 + b"\x89U\x00tb\x91.", "expected a key of text or numbers, got ndarray"),
        # Numbers and text.
        (b"\x80\x06N.", "expected a pickle of protocol 5 or below, got 6"),
        (
            b"\x8b\x00\x01\x00\x00" + b"\x01" * 256 + b".",
            "LONG4 at byte 0: .* at most 255 bytes, got 256",
        ),
        (b"\x8b\xff\xff\xff\xff.", "LONG4 at byte 0: expected a whole number of"),
        (b"I" + b"9" * 5000 + b"\n.", "INT at byte 0: expected a line of at most 700 bytes, got 5000"),
        (b"I1_0\n.", "INT at byte 0: expected the digits of a whole number"),
        (b"Fabc\n.", "FLOAT at byte 0: could not convert"),
        (b"S'a\n.", "STRING at byte 0: expected text in quotes"),
        (b"X\x02\x00\x00\x00\xff\xfe.", "BINUNICODE at byte 0: 'utf-8' codec"),
        (b"X\x03\x00\x00\x00\xed\xa0\x80.", "BINUNICODE at byte 0: 'utf-8' codec"),
        (b"V\\ud800\n.", "UNICODE at byte 0: 'utf-16.*' codec"),
        (b"V\\uzzzz\n.", "UNICODE at byte 0"),
        # Lengths that the file does not have.
        (b"X\xff\xff\xff\x7fab", "truncated: the file ends at byte 7"),
        (b"\x8d" + b"\xff" * 8 + b"ab", "truncated: the file ends at byte 11"),
        (b"\x8e" + b"\xff" * 8 + b"ab", "truncated"),
        (b"\x96" + b"\xff" * 8 + b"ab", "truncated"),
        (b"\x80\x04\x95" + b"\xff" * 8 + b"N.", "truncated"),
        (b"S'abc", "truncated: the file ends at byte 5"),
        (b"G\x00", "truncated: the file ends at byte 2"),
        (b"N", "truncated: the file ends at byte 1, within a value"),
        # Arrays.
        (array(b"(K\x02t", b"U\x04abcd"), "expected 2 values of <f4, got 4 bytes"),
        (array(b"(K\x00t", b"U\x04abcd"), "expected 0 values of <f4, got 4 bytes"),
        (
            array(b"(J\xff\xff\xff\xffJ\xff\xff\xff\xfft", b"U\x04abcd"),
            "expected a shape of at most 32 sizes, none below 0",
        ),
        (array(b"(\x88t", b"U\x04abcd"), "expected a shape"),
        (array(b"(" + b"K\x01" * 33 + b"t", b"U\x04abcd"), "expected a shape of at most 32 sizes"),
        (array(b"(" + b"J\xff\xff\xff\x7f" * 3 + b"t", b"U\x04abcd"), "got 4 bytes"),
        (array(b"(K\x00" + b"J\xff\xff\xff\x7f" * 3 + b"t", b"U\x00"), "asks for far more memory"),
        (array(b"K\x01", b"U\x04abcd"), "expected tuple, got int"),
        (array(b"(K\x01t", b"N"), "expected the bytes of an array, got NoneType"),
        (array(b"(K\x01t", b"]", F4), "expected the bytes of an array, got list"),
        (array(b"(K\x01t", b"U\x04abcd", b"N"), "expected a data type, got NoneType"),
        (array(b"(K\x01t", b"U\x08abcdefgh", OBJECT), "expected the list of an object array, got str"),
        (array(b"(K\x02t", b"(lK\x01a", OBJECT), "expected 2 values of an object array, got 1"),
        (array(b"(K\x00J\xff\xff\xff\x7ft", b"(l", OBJECT), "asks for far more memory"),
        (array(b"(K\x01t", b"U\x04\xff\xff\xff\xff", U4 % b"U1"), "characters that are not Unicode"),
        (array(b"(K\x01t", b"U\x04\x00\xd8\x00\x00", U4 % b"U1"), "characters that are not Unicode"),
        (array(b"(K\x05t", b"U\x00", U4 % b"U0"), "expected 5 values of <U0, got 0 bytes"),
        (array(b"(K\x01t", b"U\x04abcd", U4 % b"V4"), "got type V4"),
        (array(b"(K\x01t", b"U\x04abcd", U4 % b"M8"), "got type M8"),
        (F4.replace(b"NNN", b"N(U\x01atN"), "got a structured type"),
        (F4.replace(b"U\x01<", b"U\x01?"), "expected the state of a data type"),
        (b"cnumpy\ndtype\n(U\x05f4,f4I0\nI1\ntR.", "got type f4,f4"),
        (b"cnumpy.core.multiarray\nscalar\n(" + OBJECT + b"U\x08abcdefghtR.", "REDUCE at byte .*expected 1 values"),
        (b"cbuiltins\nbytearray\n(J\xff\xff\xff\x7ftR.", "REDUCE at byte"),
        (b"cbuiltins\nbytes\n(J\xff\xff\xff\x7ftR.", "REDUCE at byte"),
    ],
)
def test_refuses_what_is_no_data(file, data, message):
    with pytest.raises(DataError, match=message) as error:
        load(file, data)
    assert str(error.value).startswith(f"{file}: ")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < len(str(file)) + 250


def test_the_arrays_of_these_tests_are_read_where_nothing_is_wrong_with_them(file):
    assert load(file, array(b"(K\x01t", b"U\x04\x00\x00\x80?")).tolist() == [1.0]
    assert load(file, array(b"(K\x01t", b"(lK\x01a", OBJECT)).tolist() == [1]
    assert load(file, array(b"(K\x02t", b"U\x02\x00\x07", U4 % b"b1")).tolist() == [False, True]
    assert load(file, b"]" * 100 + b"a" * 99 + b".")


def test_every_truncation_is_refused(file):
    value = {"text": ["a"], "audio": np.ones(1), "labels": (0.5, True)}
    for protocol in PROTOCOLS:
        data = pickle.dumps(value, protocol)
        for end in range(1, len(data)):
            with pytest.raises(DataError):
                load(file, data[:end])
        with pytest.raises(DataError, match=f"truncated: the file ends at byte {len(data) - 1}"):
            load(file, data[:-1])


def test_names_of_a_file_are_printed_on_one_short_line(file):
    name = "x\\ny\x1b" + "z" * 10_000
    data = b"\x8c\x02os\x8d" + struct.pack("<Q", len(name)) + name.encode() + b"\x93."
    with pytest.raises(DataError) as error:
        load(file, data)
    assert len(str(error.value)) < len(str(file)) + 200
    assert str(error.value).isprintable()


def test_no_file(tmp_path):
    with pytest.raises(DataError, match=r"absent.pkl: no such file$"):
        load_pickle(tmp_path / "absent.pkl")
    with pytest.raises(DataError, match=f"{tmp_path}: expected a file, got a directory"):
        load_pickle(tmp_path)
    (tmp_path / "empty.pkl").touch()
    with pytest.raises(DataError, match=r"empty.pkl: expected a pickle, got an empty file$"):
        load_pickle(str(tmp_path / "empty.pkl"))
    with pytest.raises(DataError, match="cannot be read"):
        load_pickle("a\0b")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="pipe: not a regular file"):
        load_pickle(tmp_path / "pipe")


# -- bounds ------------------------------------------------------------------------------------------------------------


def peak(file: Path, data: bytes) -> int:
    """The most bytes that reading `data` takes, read or refused."""
    file.write_bytes(data)
    tracemalloc.start()
    try:
        load_pickle(file)
    except DataError:
        pass
    finally:
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return most


@pytest.mark.parametrize(
    "piece",
    [
        b"]",
        b"}",
        b"\x8f",
        b"(",
        b"U\x02\xc3\xa9",
        b"N",
        b"N\x94",
        b"K\x01\x85",
        b"]\x94",
        b"(\x91",
        b"C\x00",
        b"}q\x00K\x00h\x00s",
        b")",
    ],
)
def test_memory_is_a_multiple_of_the_file(file, monkeypatch, piece):
    monkeypatch.setattr(machine, "ALLOWANCE_OF_ANY", 0)
    size = 1 << 13
    data = b"(" + piece * (size // len(piece)) + b"l."
    # The allowance, and what is not paid for: a few pointers for each value, and the first few objects.
    assert peak(file, data) < (machine.ALLOWANCE + 32) * size + (1 << 16)


@pytest.mark.parametrize("combine", [b"h%b h%b \x86".replace(b" ", b""), b"]h%b ah%b a".replace(b" ", b"")])
def test_exponential_expansion_is_refused(file, combine):
    data = b"]q\x00" + b"".join(combine % (bytes([i]), bytes([i])) + b"q" + bytes([i + 1]) for i in range(60))
    data = b"(" + data + b"t."
    assert peak(file, data) < 1 << 20
    with pytest.raises(DataError, match="asks for far more memory than a data file"):
        load_pickle(file)


def test_a_string_of_python_2_is_paid_for_as_the_text_that_it_becomes(file):
    text = b" " * (1 << 20) + "😀".encode()
    data = b"(T" + struct.pack("<I", len(text)) + text + b"q\x00" + b"h\x00" * 1000 + b"l."
    assert peak(file, data) < 1 << 28
    with pytest.raises(DataError, match="asks for far more memory than a data file"):
        load_pickle(file)


@pytest.mark.parametrize("second", [b"h\x00", b"h\x01h\x00h\x02\x86R"], ids=["as it is", "encoded"])
def test_a_large_value_cannot_be_used_without_end(file, second):
    text = b"X\x00\x00\x10\x00" + b" " * (1 << 20) + b"q\x00"
    names = b"c_codecs\nencode\nq\x01U\x06latin1q\x02"
    with pytest.raises(DataError, match="asks for far more memory than a data file"):
        load(file, b"(" + text + names + second * 1000 + b"l.")


def test_an_array_cannot_be_built_from_the_same_bytes_without_end(file):
    state = b"(K\x01(J\x00\x00\x04\x00t" + F4 + b"\x89B\x00\x00\x10\x00" + bytes(1 << 20) + b"tq\x07"
    data = b"(" + state + (MAKE + b"h\x07b") * 1000 + b"l."
    assert peak(file, data) < 1 << 28
    with pytest.raises(DataError, match="asks for far more memory than a data file"):
        load_pickle(file)


def test_keys_that_share_a_hash_are_refused(file):
    modulus = (1 << 61) - 1
    keys = [i * modulus for i in range(2000)]
    assert len({hash(key) for key in keys}) == 1
    with pytest.raises(DataError, match="keys made to share one hash"):
        load(file, pickle.dumps(dict.fromkeys(keys)))
    with pytest.raises(DataError, match="keys made to share one hash"):
        load(file, pickle.dumps(set(keys)))
    assert load(file, pickle.dumps(dict.fromkeys(range(-500, 500)))) == dict.fromkeys(range(-500, 500))


@pytest.mark.parametrize("layout", layouts())
def test_damaged_files_are_read_or_refused(file, layout):
    draw = random.Random(layout)
    pickles = samples(layout)
    messages, read = [], 0
    for _ in range(100):
        data = mutate(draw, draw.choice(pickles), draw.choice(pickles))
        file.write_bytes(data)
        tracemalloc.start()
        try:
            load_pickle(file)
            read += 1
        except DataError as error:
            messages.append(str(error))
        finally:
            _, most = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert most < 300 * len(data) + (1 << 20)
    assert read > 0
    assert len(messages) > 50
    assert all(message.startswith(f"{file}: ") and "\n" not in message for message in messages)
