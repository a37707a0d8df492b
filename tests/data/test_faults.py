"""What goes wrong with files is an error that names the file and what was expected."""

import _thread
import os
import signal
import sys
import threading
import time

import keras
import numpy as np
import pytest

from skkeras import KerasClassifier, KerasRegressor, data

ROWS = np.arange(60, dtype="float32").reshape(20, 3) / 60


def save(path, rows=ROWS):
    np.save(path, rows)
    return path


def truncated(path):
    save(path)
    os.truncate(path, 200)


def extended(path):
    with save(path).open("ab") as file:
        file.write(b"more")


def damaged(path):
    save(path)
    with path.open("r+b") as file:
        file.seek(12)
        file.write(b"nonsense")


class Attack:
    def __reduce__(self):
        return os._exit, (1,)


def objects(path):
    np.save(path, np.array([Attack()], dtype=object), allow_pickle=True)


def structured(path):
    np.save(path, np.zeros(3, dtype=[("a", "f4")]))


def header_only(path):
    save(path)
    os.truncate(path, 40)


@pytest.mark.parametrize(
    "write, message",
    [
        (truncated, "is truncated: it has 200 bytes; expected 368 for shape \\(20, 3\\)"),
        (extended, "has further data behind its array: it has 372 bytes; expected 368"),
        (damaged, "damaged or unknown header.*Expected one of version 1 or 2"),
        (header_only, "damaged or unknown header: it is said to have 128 bytes, and 40"),
        (lambda path: path.write_bytes(b""), "is empty; expected a .npy file"),
        (lambda path: path.write_bytes(b"PK\3\4"), "begins with b'PK.*expected a .npy file"),
        (lambda path: path.write_bytes(b"\x93NUMPY\3\0" + bytes(90)), "version 3"),
        (lambda path: path.write_bytes(b"\x93NUMPY\1"), "damaged or unknown header"),
        (objects, "holds Python objects; expected numbers"),
        (structured, "has the dtype .*; expected numbers"),
        (lambda path: save(path, np.float32(1)), "holds a single value; expected an array"),
    ],
)
def test_a_file_that_holds_no_rows_is_named_at_opening(tmp_path, write, message):
    save(tmp_path / "a.npy")
    write(tmp_path / "b.npy")
    with pytest.raises(ValueError, match=f"b.npy.*{message}"):
        data.open_npy(tmp_path)


@pytest.mark.parametrize(
    "rows, message",
    [
        (ROWS[:, :2], "rows of shape \\(2,\\) and dtype float32; expected shape \\(3,\\)"),
        (
            ROWS.astype("f8"),
            "rows of shape .* and dtype float64; expected shape \\(3,\\) and dtype float32",
        ),
    ],
)
def test_rows_that_differ_are_named_with_the_file_they_differ_from(tmp_path, rows, message):
    save(tmp_path / "a.npy")
    save(tmp_path / "b.npy", rows)
    with pytest.raises(ValueError, match=f"b.npy has {message}.* as in .*a.npy"):
        data.open_npy(tmp_path)


@pytest.mark.parametrize(
    "paths, message",
    [
        ("none.npy", "none.npy doesn't exist; expected"),
        ("none_*.npy", "expected a pattern that files match"),
        ("folder", "expected .npy files in this folder"),
    ],
)
def test_missing_files_are_named(tmp_path, paths, message):
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileNotFoundError, match=message):
        data.open_npy(tmp_path / paths)
    with pytest.raises(FileNotFoundError, match="expected one at least"):
        data.open_npy([])


def test_inputs_and_labels_that_do_not_belong_together_are_named(tmp_path):
    inputs = [save(tmp_path / f"x{i}.npy") for i in range(3)]
    labels = [save(tmp_path / f"y{i}.npy", ROWS[:n, 0]) for i, n in enumerate([20, 19, 20])]
    with pytest.raises(ValueError, match="x1.npy has 20 rows and .*y1.npy 19"):
        data.open_npy_pairs(inputs, labels)
    with pytest.raises(ValueError, match="Got 3 files of inputs and 2 of labels"):
        data.open_npy_pairs(inputs, labels[:2])
    X, y = data.open_npy_pairs(inputs[::2], labels[::2])
    assert (X.shape, y.shape) == ((40, 3), (40,))


def test_what_is_no_path_is_a_type_error():
    with pytest.raises(TypeError, match="Got paths=3; expected the path of a folder"):
        data.open_npy(3)


def test_what_is_no_array_is_a_type_error():
    for wrong in ([1, 2], {"a": 1}, None):
        with pytest.raises(TypeError, match="expected something with a shape, a dtype and slices"):
            data.lazy(wrong)
    with pytest.raises(TypeError, match="expected one array at least"):
        data.lazy()


def changed(path):
    save(path, ROWS[::-1])
    os.utime(path, ns=(0, 0))


def replaced(path):
    times = os.stat(path).st_atime_ns, os.stat(path).st_mtime_ns
    save(path.with_name("other"), ROWS[::-1])
    os.replace(path.with_name("other.npy"), path)
    os.utime(path, ns=times)


@pytest.mark.parametrize(
    "spoil, error, message",
    [
        (
            changed,
            OSError,
            "b.npy has changed since it was opened: it has as many bytes, 368, written",
        ),
        (replaced, OSError, "b.npy has changed .*: another file, with as many bytes"),
        (
            lambda path: os.truncate(path, 200),
            OSError,
            "b.npy has changed .* 200 bytes, and had 368",
        ),
        (os.remove, FileNotFoundError, "b.npy has disappeared since it was opened"),
    ],
)
@pytest.mark.parametrize("engine", ["compiled", "keras"])
def test_a_file_that_changes_during_training_ends_it(tmp_path, spoil, error, message, engine):
    for name in "ab":
        save(tmp_path / f"{name}.npy")
    X = data.open_npy(tmp_path).with_sizes(cache_bytes=0, shuffle_bytes=240)

    class Spoil(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 2:
                spoil(tmp_path / "b.npy")

    net = KerasRegressor("linear", epochs=9, batch_size=4, callbacks=Spoil, engine=engine)
    with pytest.raises(error, match=message):
        net.fit(X, np.zeros(40))
    assert not hasattr(net, "n_iter_")
    assert not readers()


def readers():
    """Reading threads that go on. One that Ctrl-C meets at its start ends soon after the fit."""
    threads = [one for one in threading.enumerate() if one.name.startswith("skkeras-reader")]
    for thread in threads:
        thread.join(timeout=5)
    return [one for one in threads if one.is_alive()]


@pytest.mark.parametrize("value, kind", [(np.nan, "NaN"), (np.inf, "infinity")])
def test_a_row_that_is_not_finite_is_named(tmp_path, value, kind):
    spoilt = ROWS.copy()
    spoilt[7, 1] = value
    save(tmp_path / "a.npy")
    save(tmp_path / "b.npy", spoilt)
    X = data.open_npy(tmp_path)
    message = f"contains {kind}: in row 7 .counted from 0. of .*b.npy"
    net = KerasRegressor("linear", epochs=1)
    with pytest.raises(ValueError, match=message):
        net.fit(X, np.zeros(40))
    net.fit(X[:20], np.zeros(20))
    with pytest.raises(ValueError, match=message):
        net.predict(X[::-1])
    assert net.predict(X[[*range(20), *range(30, 40)]]).shape == (30,)
    net.fit(X[:, ::2], np.zeros(40))  # the column isn't used
    net.fit(X.map(lambda rows: np.where(np.isfinite(rows), rows, 0)), np.zeros(40))
    assert np.asarray(X[:, 1]).shape == (40,)  # looking at it is no error


def test_floats_whose_sum_overflows_are_finite():
    X = data.lazy(np.full((8, 2), 3e38, "float32"))
    np.asarray(X.finite("X"))


def test_an_error_in_the_reading_thread_ends_a_fit_that_went_well_so_far():
    calls = []

    def fails_late(rows):
        calls.append(threading.current_thread().name)
        if len(calls) > 30:
            raise RuntimeError("the tape is torn")
        return rows

    X = data.lazy(ROWS).map(fails_late).with_sizes(shuffle_bytes=24)
    net = KerasRegressor("linear", epochs=1000, batch_size=4)
    with pytest.raises(RuntimeError, match="the tape is torn"):
        net.fit(X, np.zeros(20))
    assert any(name.startswith("skkeras-reader") for name in calls)
    assert not readers()


def raise_in_the_reader():
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "options", [{"callbacks": keras.callbacks.Callback}, {"validation_split": 0.2}]
)
@pytest.mark.parametrize("interrupt", [_thread.interrupt_main, raise_in_the_reader])
def test_ctrl_c_ends_both_threads_and_keeps_what_is_trained(options, interrupt):
    calls = []

    def interrupt_once(rows):
        calls.append(0)
        if len(calls) == 400:
            interrupt()
        return rows

    X = data.lazy(ROWS).map(interrupt_once).with_sizes(shuffle_bytes=24)
    net = KerasRegressor("linear", epochs=1000, batch_size=4, random_state=0, **options)
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, ROWS.sum(axis=1))
    assert 0 < net.n_iter_ < 1000
    assert not readers()
    assert np.isfinite(net.predict(ROWS)).all()


def test_no_thread_and_no_file_is_left_behind(tmp_path):
    save(tmp_path / "a.npy")
    X = data.open_npy(tmp_path)
    n_open = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    net = KerasRegressor("linear", epochs=3, validation_split=0.2).fit(X, np.zeros(20))
    net.predict(X)
    assert not readers()
    if n_open is not None:
        assert len(os.listdir("/proc/self/fd")) == n_open


@pytest.mark.parametrize(
    "X, message",
    [
        (data.lazy(ROWS[:, 0]), "Expected 2D array, got 1D array instead.*Reshape your data"),
        (data.lazy(ROWS)[:0], "0 sample"),
        (data.lazy(np.full((20, 2), "text")), "expected numbers. Load strings"),
    ],
)
def test_lazy_inputs_that_no_net_takes_are_refused(X, message):
    with pytest.raises(ValueError, match=message):
        KerasRegressor(epochs=1).fit(X, np.zeros(len(X)))


def test_rows_are_those_of_training(tmp_path):
    X, y = data.lazy(ROWS), np.zeros(20)
    net = KerasRegressor("linear", epochs=1).fit(X, y)
    assert net.n_features_in_ == 3
    with pytest.raises(ValueError, match="X has 2 features, but KerasRegressor is expecting 3"):
        net.predict(X[:, :2])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        net.fit(X, y[:-1])
    images = KerasClassifier(epochs=1).fit(data.lazy(np.zeros((4, 3, 3))), [0, 1, 0, 1])
    with pytest.raises(ValueError, match="expected .*as in training"):
        images.predict(data.lazy(np.zeros((4, 3, 2))))


@pytest.mark.slow
def test_ctrl_c_does_not_wait_for_epochs_of_slow_rows():
    begun = []

    def slow(x):
        if not begun:
            begun.append(time.perf_counter())
            threading.Timer(1.5, _thread.interrupt_main).start()
        time.sleep(0.01)
        return x

    net = KerasRegressor("linear", epochs=1000, batch_size=4, augment=slow, random_state=0)
    with pytest.raises(KeyboardInterrupt):
        net.fit(ROWS, ROWS.sum(axis=1))  # an epoch takes 0.05 s
    assert time.perf_counter() - begun[0] < 5
    assert net.n_iter_ > 0
    assert not readers()


@pytest.fixture(params=[True, False])
def ends_waits(request):
    """Whether a signal ends what Python waits for; asyncio, in notebooks, sees to it that not."""
    signal.siginterrupt(signal.SIGINT, request.param)
    yield
    signal.siginterrupt(signal.SIGINT, True)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no siginterrupt")
@pytest.mark.usefixtures("ends_waits")
@pytest.mark.parametrize("reads_slowly", ["map", "augment"])
def test_ctrl_c_does_not_wait_for_the_rest_of_a_shuffle_group(reads_slowly):
    seen, begun = [], []

    def slow(x):
        if threading.current_thread().name.startswith("skkeras-reader"):
            if not begun:
                begun.append(time.perf_counter())
                threading.Timer(0.5, ctrl_c).start()
            seen.append(len(x))
            time.sleep(0.1)
        return x

    X, options = np.zeros((6400, 1), "float32"), {}
    if reads_slowly == "map":
        X = data.lazy(X).with_sizes(block_bytes=4 * 64).map(slow)
    else:  # of the first call all steps are read at once
        options = {"augment": slow, "batch_size": 1600}
    net = KerasRegressor("linear", epochs=9, **options)
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, np.zeros(6400))  # a group of 100 blocks takes 10 s
    assert time.perf_counter() - begun[0] < 5
    assert len(seen) < 40
    assert not readers()


def ctrl_c():
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


class Scaled:
    """Rows that aren't what they are said to be, as those of netCDF4 with a scale and a mask."""

    def __init__(self, rows, dtype):
        self.rows, self.shape, self.dtype = rows, rows.shape, np.dtype(dtype)

    def __getitem__(self, key):
        return self.rows[key]


def test_rows_of_another_dtype_are_an_error():
    rows = np.array([[20.5, 21.25], [19.0, 22.0]])
    for X in (data.lazy(Scaled(rows, "int16")), data.lazy(Scaled(rows, "int16"))[:, :1]):
        with pytest.raises(ValueError, match="has dtype int16, and returned float64 for its rows"):
            np.asarray(X)


def test_masked_values_are_an_error():
    rows = np.ma.array([[1.0, 2.0], [3.0, 4.0]], mask=[[False, False], [True, False]])
    with pytest.raises(ValueError, match="masked values in its rows 0 to 2; expected none"):
        np.asarray(data.lazy(Scaled(rows, "float64")))
    np.testing.assert_array_equal(data.lazy(Scaled(rows[:1], "float64")), rows[:1])


@pytest.fixture
def pairs(tmp_path):
    for name, numbers in (("x", [1, 2, 10]), ("y", [2, 10, 11])):
        (tmp_path / name).mkdir()
        for number in numbers:
            np.save(tmp_path / name / f"day_{number:02}.npy", np.full((2, 1), number))
    return tmp_path / "x", tmp_path / "y"


def test_files_with_other_numbers_are_no_pairs(pairs):
    with pytest.raises(ValueError, match=r"day_01.npy would be paired with .*day_02.npy, which"):
        data.open_npy_pairs(*pairs)
    with pytest.raises(ValueError, match="which has another number; expected files with the same"):
        data.open_npy_pairs(pairs[0] / "*.npy", pairs[1])
    # Those who list them know which belong together.
    X, y = data.open_npy_pairs(*(sorted(folder.iterdir()) for folder in pairs))
    assert len(X) == len(y) == 6
    X, y = data.open_npy_pairs(pairs[0] / "day_01.npy", pairs[1] / "day_02.npy")
    assert len(X) == len(y) == 2


def test_hidden_files_are_no_data(pairs):
    folder, _ = pairs
    (folder / "._day_01.npy").write_bytes(b"what some systems write beside a file")
    assert len(data.open_npy(folder)) == 6
    assert len(data.open_npy(bytes(folder))) == 6


def test_files_whose_names_have_the_same_number_have_an_order(tmp_path, monkeypatch):
    for number, name in enumerate(["day_1", "day_01", "day_001"]):
        np.save(tmp_path / f"{name}.npy", [number])
    for names in (os.listdir(tmp_path), os.listdir(tmp_path)[::-1]):
        monkeypatch.setattr(os, "listdir", lambda path, names=names: names)
        np.testing.assert_array_equal(data.open_npy(tmp_path), [2, 1, 0])
