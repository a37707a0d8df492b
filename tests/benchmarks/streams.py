"""Training on batches of tf.data, of generators and of a PyDataset, beside `model.fit` on the same.

Prints millions of rows a second, medians of three rounds in one run:

    python tests/benchmarks/streams.py
"""

import statistics
import time
import warnings

import keras
import numpy as np
import tensorflow as tf

from skkeras import KerasRegressor

N_ROWS, BATCH = 400_000, 256
X = np.random.default_rng(0).normal(size=(N_ROWS, 32)).astype("float32")
Y = X[:, 0].copy()


def build(input_shape=(32,), n_outputs=1):
    layers = [keras.layers.Dense(64, activation="relu"), keras.layers.Dense(n_outputs)]
    return keras.Sequential([keras.Input(input_shape), *layers])


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return -(-N_ROWS // BATCH)

    def __getitem__(self, index):
        rows = slice(index * BATCH, (index + 1) * BATCH)
        return X[rows], Y[rows]


def batches():
    for start in range(0, N_ROWS, BATCH):
        yield X[start : start + BATCH], Y[start : start + BATCH]


STREAMS = {
    "tf.data": tf.data.Dataset.from_tensor_slices((X, Y)).batch(BATCH).prefetch(4),
    "generator": batches,
    "PyDataset": Batches(),
}


def net(engine="compiled"):
    return KerasRegressor(build, epochs=1, batch_size=BATCH, engine=engine, random_state=0)


def keras_fit(stream):
    model = build()
    model.compile("adam", "mse")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a generator ran out of data
        model.fit(stream() if callable(stream) else stream, verbose=0)


def rate(work):
    begin = time.perf_counter()
    work()
    return N_ROWS / (time.perf_counter() - begin) / 1e6


def main():
    fitted = net().fit(X[: 8 * BATCH], Y[: 8 * BATCH])
    rates = {}
    for _ in range(3):
        works = {("arrays", "fit"): lambda: net().fit(X, Y)}
        for name, stream in STREAMS.items():
            works |= {
                (name, "fit"): lambda s=stream: net().fit(s),
                (name, "fit, engine='keras'"): lambda s=stream: net("keras").fit(s),
                (name, "model.fit"): lambda s=stream: keras_fit(s),
                (name, "predict"): lambda s=stream: fitted.predict(s),
            }
        for what, work in works.items():
            rates.setdefault(what, []).append(rate(work))
    for (name, what), values in rates.items():
        print(f"{name:10} {what:20} {statistics.median(values):.2f} M rows/s")


if __name__ == "__main__":
    main()
