"""Handles for something outside are shared, and not copied."""

import copy
import io
import multiprocessing
import pickle
import queue
import socket
import threading

import keras
import numpy as np
import pytest
from sklearn.base import clone

from skkeras import KerasRegressor
from skkeras._keras_objects.held import is_handle

X = np.arange(8.0).reshape(4, 2)


class Study:
    """Keeps its trials behind a lock, and can be pickled, as Optuna's in memory."""

    def __init__(self):
        self.reports = []
        self.lock = threading.Lock()

    def __getstate__(self):
        return {"reports": self.reports}

    def __setstate__(self, state):
        self.__init__()
        vars(self).update(state)


class Trial:
    def __init__(self, study):
        self.study = study


class Report(keras.callbacks.Callback):
    def __init__(self, trial, kept):
        super().__init__()
        self.trial = trial
        self.kept = kept
        self.counts = {"epochs": 0}

    def on_epoch_end(self, epoch, logs=None):
        self.trial.study.reports.append(epoch)
        self.counts["epochs"] += 1


class Locked(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()


@pytest.mark.parametrize(
    "make",
    [
        *(io.StringIO, io.BytesIO, queue.Queue, queue.SimpleQueue, socket.socket),
        *(multiprocessing.Queue, lambda: multiprocessing.Pipe()[0]),
        *(lambda: Trial(Study()), lambda: Trial([{"sink": queue.Queue()}])),
    ],
)
def test_streams_queues_connections_and_what_holds_a_lock_are_handles(make):
    thing = make()
    assert is_handle(thing)
    getattr(thing, "close", int)()


@pytest.mark.parametrize(
    "thing",
    [
        3,
        "text",
        [1],
        np.arange(3),
        Trial([1, 2]),
        {"a": Trial(None)},
        np.random.default_rng(0),
        print,
    ],
    ids=lambda thing: type(thing).__name__,
)
def test_values_are_no_handles(thing):
    assert not is_handle(thing)


def test_fits_and_clones_report_to_the_same_study(tmp_path):
    trial = Trial(Study())
    with (tmp_path / "log.txt").open("w") as file:
        report = Report(trial, [file])
        net = KerasRegressor("linear", callbacks=report, epochs=2, random_state=0)
        for other in (net, clone(net), copy.deepcopy(net)):
            [made] = other.fit(X, X[:, 0]).callbacks_
            assert made.trial is trial
            assert made.kept[0] is file
            assert made.kept is not report.kept
            assert made.counts == {"epochs": 2}
    assert trial.study.reports == [0, 1] * 3
    assert report.counts == {"epochs": 0}
    loaded = pickle.loads(pickle.dumps(KerasRegressor(callbacks=Report(trial, []))))
    assert loaded.callbacks.trial.study.reports == [0, 1] * 3


def test_callback_with_a_lock_of_its_own_is_refused_by_clone_too():
    with pytest.raises(ValueError, match=r"callbacks=Locked.*Pass the class.*or a function"):
        clone(KerasRegressor(callbacks=[Locked()]))
