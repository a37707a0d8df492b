import pickle
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from versions import needs

from skkeras import KerasRegressor, data

ROWS = np.arange(23 * 3, dtype="float32").reshape(23, 3)


@pytest.fixture
def files(tmp_path):
    """Rows in four files, one of them empty."""
    for number, part in enumerate(np.split(ROWS, [7, 7, 12])):
        np.save(tmp_path / f"{number}.npy", part)
    return tmp_path


@pytest.fixture
def array(files):
    """Blocks of two rows."""
    return data.open_npy(files).with_sizes(block_bytes=24)


INDICES = [
    slice(None),
    slice(3, 15),
    slice(-5, None),
    slice(None, None, -2),
    slice(20, 3),
    [0, -1, 5, 5],
    [],
    np.array([22, 1, 0], dtype="uint8"),
    ROWS[:, 0] % 2 == 0,
    np.zeros(23, bool),
    (slice(None), slice(None, -1)),
    (slice(None), -1),
    ([4, 2], ...),
    (slice(5), [2, 0]),
    (..., None),
    (..., 1),
    (),
    (slice(None), np.array([0, 2])),
    (slice(None), np.array([True, False, True])),
    (slice(None), pd.Index([2, 1])),
]


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_indexing_is_that_of_an_ndarray_and_lazy(array, index):
    view, expected = array[index], ROWS[index]
    assert isinstance(view, data.LazyArray)
    assert (view.shape, view.ndim, len(view), view.dtype, view.size, view.nbytes) == (
        expected.shape,
        expected.ndim,
        len(expected),
        expected.dtype,
        expected.size,
        expected.nbytes,
    )
    np.testing.assert_array_equal(np.asarray(view), expected)
    np.testing.assert_array_equal(list(view), list(expected))


def test_an_int_reads_the_row(array):
    assert array[-1].tolist() == ROWS[-1].tolist()
    assert array[3, 1] == ROWS[3, 1]
    assert array[np.int64(3), :2].tolist() == ROWS[3, :2].tolist()
    assert array[:, 0][2] == ROWS[2, 0]


@pytest.mark.parametrize(
    "index, message",
    [
        (23, "out of bounds for 23 rows"),
        ([0, -24], "Index -24 is out of bounds"),
        (None, "expected it after them"),
        ([0.5], "expected an int, a slice"),
        ([[0]], "shape \\(1, 1\\)"),
        (np.ones(4, bool), "expected \\(23,\\)"),
        ((slice(None), 5), "out of bounds"),
    ],
)
def test_an_index_that_is_none_is_an_index_error(array, index, message):
    with pytest.raises(IndexError, match=message):
        array[index]


def test_an_array_of_one_int_is_an_int(array):
    np.testing.assert_array_equal(array[np.array(3)], ROWS[3])
    np.testing.assert_array_equal(array[0, np.array([2, 0])], ROWS[0, [2, 0]])


def test_arrays_of_rows_and_of_columns_are_not_crossed_quietly(array):
    with pytest.raises(
        IndexError, match=r"which an ndarray would pair; .* X\[rows\]\[:, columns\]"
    ):
        array[[0, 1], [0, 1]]


def test_a_list_of_columns_may_change_afterwards(array):
    columns = [0]
    view = array[:, columns]
    columns[0] = 2
    np.testing.assert_array_equal(view, ROWS[:, [0]])


def test_columns_after_rows_stay_after_them():
    images = data.lazy(np.zeros((4, 5, 6, 7)))
    assert images[:, 1:, ::2, [0, 1]].shape == (4, 4, 3, 2)
    with pytest.raises(IndexError, match="rows to stay first"):
        images[:, [0], :, [0]]


@st.composite
def views(draw):
    """A chain of row indices that an array of 23 rows takes."""
    chain, n_rows = [], 23
    for _ in range(draw(st.integers(1, 4))):
        if n_rows and draw(st.booleans()):
            chain.append(draw(st.lists(st.integers(0, n_rows - 1), max_size=30)))
        else:
            bounds = st.none() | st.integers(-25, 25)
            steps = st.sampled_from([None, 1, 2, -1, -3])
            chain.append(slice(draw(bounds), draw(bounds), draw(steps)))
        n_rows = len(np.arange(n_rows)[chain[-1]]) if n_rows else 0
    return chain


@given(views(), st.integers(1, 100))
def test_views_of_views_are_those_of_an_ndarray(chain, block_bytes):
    array = data.lazy(*np.split(ROWS, [7, 7, 12])).with_sizes(block_bytes=block_bytes)
    expected = ROWS
    for index in chain:
        array, expected = array[index], expected[np.array(index, int) if index == [] else index]
    np.testing.assert_array_equal(np.asarray(array), expected)
    order = array.storage_order()
    stored = np.asarray(array if order is None else array[order])
    assert (np.diff(stored[:, 0]) >= 0).all()
    ends = array.block_ends(order)
    assert ends[-1:].tolist() in ([len(array)], [])
    blocks = list(array.blocks(24))
    np.testing.assert_array_equal(np.concatenate([*blocks, ROWS[:0]]), stored)


def test_map_is_applied_to_what_is_read(array):
    doubled = array[:, :2].map(lambda rows: 2.0 * rows.astype("float64"), dtype="float64")
    first = doubled[[3, 1], 0].map(lambda rows: rows[:, None], shape=(1,))
    assert (first.shape, first.dtype) == ((2, 1), np.float64)
    np.testing.assert_array_equal(np.asarray(first), 2 * ROWS[[3, 1], :1])
    with pytest.raises(ValueError, match="returned shape .*; expected shape .*what map was told"):
        np.asarray(array.map(lambda rows: rows[1:]))


def test_functions_cannot_write_to_what_others_will_read(array):
    def write(rows):
        rows += 1
        return rows

    for one in (array, data.lazy(ROWS.copy())):
        with pytest.raises(ValueError, match="read-only"):
            np.asarray(one.map(write))


def test_asarray_copies_and_casts(array):
    loaded = np.asarray(array, dtype="float64")
    assert loaded.dtype == np.float64
    assert loaded.flags.writeable


@needs("numpy", "2.0")
def test_asarray_refuses_a_view(array):
    with pytest.raises(ValueError, match="copy=False"):
        np.array(array, copy=False)


def test_what_no_memory_holds_is_not_loaded(monkeypatch):
    array = data.lazy(np.broadcast_to(np.float32(0), (2**40, 4)))
    assert array[5:-5].shape == (2**40 - 10, 4)
    with pytest.raises(MemoryError, match="16384.0 GB.*ArrayScaler"):
        np.asarray(array)


def test_a_pickle_holds_paths_and_row_numbers(tmp_path):
    np.save(tmp_path / "one.npy", np.zeros((100_000, 4), "float32"))
    array = data.open_npy(tmp_path / "one.npy")
    np.asarray(array)  # what was read lately isn't pickled
    fold = array[np.r_[:30_000, 60_000:100_000]]
    shuffled = array[np.random.default_rng(0).permutation(100_000)]
    assert len(pickle.dumps(fold)) < 2_000
    assert len(pickle.dumps(shuffled)) < 402_000
    again = pickle.loads(pickle.dumps(shuffled[:7]))
    np.testing.assert_array_equal(np.asarray(again), np.asarray(shuffled[:7]))


def test_views_share_what_was_read_lately_within_a_budget():
    source = Counting(ROWS)
    array = data.lazy(source).with_sizes(block_bytes=24, cache_bytes=1_000)
    for view in (array, array[5:9], array[::-1]):
        np.asarray(view)
    assert source.n_rows == 23
    array = array.with_sizes(cache_bytes=0)
    for _ in range(2):
        np.asarray(array)
    assert source.n_rows == 3 * 23


class Counting:
    """An array that counts the rows that are read, and takes nothing but slices."""

    def __init__(self, rows):
        self.rows, self.shape, self.dtype, self.n_rows = rows, rows.shape, rows.dtype, 0

    def __getitem__(self, key):
        assert isinstance(key, slice)
        assert key.step is None
        self.n_rows += len(self.rows[key])
        return self.rows[key]


def test_nothing_is_read_before_it_is_needed():
    source = Counting(ROWS)
    view = data.lazy(source)[::2][:, :1].map(np.sqrt)[3:5]
    assert source.n_rows == 0
    np.asarray(view.with_sizes(block_bytes=24))
    assert source.n_rows == 4


def test_lazy_arrays_are_joined_like_others(array):
    joined = data.lazy(array, array[:, ::-1], array[5:2], ROWS)
    expected = np.concatenate([ROWS, ROWS[:, ::-1], ROWS])
    np.testing.assert_array_equal(np.asarray(joined), expected)


def test_a_memory_map_is_read_from_its_file(files):
    mapped = np.load(files / "3.npy", mmap_mode="r")
    for one, expected in [(mapped, ROWS[12:]), (mapped[2:5], ROWS[14:17])]:
        array = data.lazy(one)
        np.testing.assert_array_equal(np.asarray(array), expected)
        assert str(files).encode() in pickle.dumps(array)
    np.testing.assert_array_equal(np.asarray(data.lazy(mapped[:, :2])), ROWS[12:, :2])


def test_an_hdf5_dataset_is_read_and_travels_by_the_name_of_its_file(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        file.create_dataset("x", data=ROWS, chunks=(4, 3))
        array = data.lazy(file["x"])
        np.testing.assert_array_equal(np.asarray(array[[5, 1, 5]]), ROWS[[5, 1, 5]])
        pickled = pickle.dumps(array[::2])
    np.testing.assert_array_equal(np.asarray(pickle.loads(pickled)), ROWS[::2])


def test_a_closed_hdf5_file_is_said_to_be_closed(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        stored = file.create_dataset("x", data=ROWS)
        array = data.lazy(stored)
    message = r"HDF5 dataset '/x' of shape \(23, 3\) in .*rows.h5 is closed; expected its file to"
    for read in (np.asarray, lambda array: array[3], lambda array: next(array.blocks())):
        with pytest.raises(ValueError, match=message):
            read(array)
    net = KerasRegressor("linear", epochs=1)
    with pytest.raises(ValueError, match=message):
        net.fit(array, ROWS[:, 0])
    with pytest.raises(ValueError, match=message):
        net.fit(ROWS, ROWS[:, 0], X_val=array, y_val=ROWS[:, 0])
    with pytest.raises(ValueError, match="The HDF5 dataset is closed; expected"):
        data.lazy(stored)
    np.testing.assert_array_equal(np.asarray(pickle.loads(pickle.dumps(array))), ROWS)


def test_joined_arrays_that_differ_are_named(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        for name, dtype in ("a", "float32"), ("b", "float64"), ("c", "float32"):
            file.create_dataset(name, data=ROWS.astype(dtype))
        message = (
            r"'/b' of shape .* in .*rows.h5 has rows .* float64; expected .* float32, as in HDF5"
        )
        with pytest.raises(ValueError, match=message + r".*'/a'.*rows.astype\('float32'\)"):
            data.lazy(file["a"], file["b"])
        as_told = data.lazy(file["b"]).map(lambda rows: rows.astype("float32"), dtype="float32")
        both = data.lazy(file["a"], as_told)
        assert (both.shape, both.dtype) == ((46, 3), np.float32)
        np.testing.assert_array_equal(np.asarray(both), np.concatenate([ROWS, ROWS]))
    with pytest.raises(ValueError, match=r"ndarray .*\(number 3\) has rows .*\(number 1\)"):
        data.lazy(ROWS, ROWS, ROWS.astype("float16"))
    with pytest.raises(ValueError, match="Join rows of one shape"):
        data.lazy(ROWS, ROWS[:, :2])


def test_a_zarr_array_is_read_in_whole_chunks(tmp_path):
    zarr = pytest.importorskip("zarr")
    stored = zarr.create_array(
        store=str(tmp_path / "rows.zarr"), shape=ROWS.shape, chunks=(4, 3), dtype="float32"
    )
    stored[:] = ROWS
    array = data.lazy(stored).with_sizes(block_bytes=24)
    assert array.block_ends().tolist() == [4, 8, 12, 16, 20, 23]
    np.testing.assert_array_equal(np.asarray(array[[5, 1, 5]]), ROWS[[5, 1, 5]])
    again = pickle.loads(pickle.dumps(array[::2]))
    np.testing.assert_array_equal(np.asarray(again), ROWS[::2])


def test_a_dask_array_is_computed_slice_by_slice():
    from_array = pytest.importorskip("dask.array").from_array
    array = data.lazy(from_array(ROWS, chunks=(4, 3)) * 2)
    np.testing.assert_array_equal(np.asarray(array[[5, 1, 5]]), 2 * ROWS[[5, 1, 5]])


@pytest.mark.parametrize("shape", [(6,), (6, 3), (6, 3, 4), (6, 2, 3, 4)])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "u1", "i8", "?", "<U3"])
def test_files_of_any_rank_order_and_dtype(tmp_path, shape, order, dtype):
    rows = np.asarray(np.random.default_rng(0).integers(2, size=shape).astype(dtype), order=order)
    np.save(tmp_path / "rows.npy", rows)
    array = data.open_npy(tmp_path / "rows.npy").with_sizes(block_bytes=2 * rows[0].nbytes)
    assert array.dtype == rows.dtype
    np.testing.assert_array_equal(np.asarray(array), rows)
    np.testing.assert_array_equal(np.asarray(array[[4, 1]]), rows[[4, 1]])


def test_files_come_in_the_order_of_their_numbers(tmp_path):
    for day in (10, 2, 1):
        np.save(tmp_path / f"day_{day}.npy", np.array([day]))
    for paths in (tmp_path, str(tmp_path / "day_*.npy")):
        assert np.asarray(data.open_npy(paths)).tolist() == [1, 2, 10]
    chosen = [tmp_path / "day_10.npy", tmp_path / "day_1.npy"]
    assert np.asarray(data.open_npy(chosen)).tolist() == [10, 1]


@pytest.mark.parametrize("order", ["C", "F"])
def test_every_file_may_be_a_sample(tmp_path, order):
    scans = np.random.default_rng(0).normal(size=(12, 3, 4))
    (tmp_path / "labels").mkdir()
    for number, scan in enumerate(scans):
        np.save(tmp_path / f"scan_{number}.npy", np.asarray(scan, order=order))
        np.save(tmp_path / "labels" / f"label_{number}.npy", number % 2)
    X, y = data.open_npy_pairs(tmp_path / "scan_*.npy", str(tmp_path / "labels"), one_per_file=True)
    np.testing.assert_array_equal(np.asarray(X), scans)
    np.testing.assert_array_equal(np.asarray(X[[7, 2]]), scans[[7, 2]])
    assert np.asarray(y).tolist() == [0, 1] * 6


def test_zero_rows_make_an_empty_array(tmp_path):
    np.save(tmp_path / "none.npy", np.zeros((0, 2)))
    array = data.open_npy(tmp_path)
    assert np.asarray(array).shape == (0, 2)
    assert array.block_ends().tolist() == []


def test_lazy_of_a_view_has_the_rows_of_the_view():
    rows = np.arange(6.0).reshape(3, 2)
    repeated = data.lazy(rows)[[0, 0, 1]]  # as long as the storage, and in its order
    np.testing.assert_array_equal(np.asarray(data.lazy(repeated)), rows[[0, 0, 1]])
    np.testing.assert_array_equal(
        np.asarray(data.lazy(repeated, rows)), np.concatenate([rows[[0, 0, 1]], rows])
    )


def test_indices_of_small_ints_count_from_the_end():
    rows = np.arange(300.0)
    assert np.asarray(data.lazy(rows)[np.array([-1, 0], "int8")]).tolist() == [299, 0]


def test_a_memory_map_by_columns_is_pickled_as_a_path(tmp_path):
    rows = np.asfortranarray(np.arange(40_000.0, dtype=">f4").reshape(10_000, 4))
    np.save(tmp_path / "rows.npy", rows)
    X = data.lazy(np.load(tmp_path / "rows.npy", mmap_mode="r"))
    pickled = pickle.dumps(X)
    assert len(pickled) < 2000
    np.testing.assert_array_equal(np.asarray(pickle.loads(pickled)[5:7, 1:]), rows[5:7, 1:])


@pytest.mark.parametrize(
    "array",
    [
        sparse.csr_array(np.eye(3)),
        np.ma.masked_array([1.0, 2.0], [True, False]),
        tf.zeros((2, 3)),
    ],
)
def test_what_would_lose_something_is_refused(array):
    with pytest.raises(TypeError, match="expected something with a shape, a dtype and slices"):
        data.lazy(array)


@pytest.mark.parametrize("name", ["block_bytes", "shuffle_bytes"])
def test_sizes_are_checked(name):
    with pytest.raises(ValueError, match=f"{name} == 0, must be >= 1"):
        data.lazy(np.zeros(3)).with_sizes(**{name: 0})


def test_picking_rows_takes_little_memory_beside_their_numbers():
    X = data.lazy(np.zeros((3_000_000, 1), "int8"))
    fold = np.concatenate([np.arange(1_000_000), np.arange(2_000_000, 3_000_000)])
    tracemalloc.start()
    try:
        view = X[fold]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert view.shape == (2_000_000, 1)
    assert peak < fold.nbytes / 2


@pytest.mark.parametrize(
    "compare",
    [
        lambda X: X == 1,
        lambda X: X != 1,
        lambda X: np.ones(3) == X,
        lambda X: np.int64(1) == X,
        lambda X: X == X,
        lambda X: X in [None],
    ],
)
def test_values_are_not_compared_quietly(compare):
    with pytest.raises(TypeError, match=r"== or !=.*LazyArray.*X\.map\(lambda rows: rows == value"):
        compare(data.lazy(np.arange(3.0)))


def test_what_is_not_compared_has_a_hash_and_may_be_asked_for_itself():
    X = data.lazy(np.arange(3.0))
    assert {X: "x"}[X] == "x"
    assert X in [X]
    assert hash(X) != hash(data.lazy(np.arange(3.0)))
    assert np.asarray(X.map(lambda rows: rows == 1, dtype=bool)).tolist() == [False, True, False]
    assert len(pickle.loads(pickle.dumps(X))) == 3
