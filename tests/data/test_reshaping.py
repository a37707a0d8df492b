import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from versions import parametrize_with_checks

from skkeras import data
from skkeras.data import ArrayReshaper


@parametrize_with_checks([ArrayReshaper(), ArrayReshaper((-1, 1))])
def test_scikit_learn_finds_nothing(estimator, check):
    check(estimator)


@pytest.mark.parametrize("dtype", ["float32", "uint8", "float64"])
def test_images_become_vectors_and_back(dtype):
    images = np.arange(60 * 28 * 28).reshape(60, 28, 28).astype(dtype)
    reshaper = ArrayReshaper().fit(images)
    vectors = reshaper.transform(images)
    assert vectors.shape == (60, 784)
    assert np.shares_memory(vectors, images)
    back = reshaper.inverse_transform(vectors)
    assert back.dtype == dtype
    assert np.array_equal(back, images)


def test_vectors_become_images_and_back():
    vectors = pd.DataFrame(np.arange(5 * 784.0).reshape(5, 784))
    reshaper = ArrayReshaper((28, 28, -1)).fit(vectors)
    images = reshaper.transform(vectors)
    assert images.shape == (5, 28, 28, 1)
    assert np.array_equal(reshaper.inverse_transform(images), vectors)


def test_what_takes_vectors_takes_images_behind_it():
    images = np.random.default_rng(0).normal(size=(20, 4, 4))
    pipe = make_pipeline(ArrayReshaper(), PCA(3), ArrayReshaper((3, 1)))
    assert pipe.fit_transform(images).shape == (20, 3, 1)
    assert pipe.inverse_transform(pipe.transform(images)).shape == (20, 4, 4)


def test_vectors_have_names_and_images_have_none():
    images = np.zeros((3, 2, 2))
    vectors = ArrayReshaper().set_output(transform="pandas").fit_transform(images)
    assert list(vectors.columns) == ["x0", "x1", "x2", "x3"]
    named = pd.DataFrame(np.zeros((3, 4)), columns=list("abcd"))
    assert list(ArrayReshaper().fit(named).get_feature_names_out()) == list("abcd")
    to_images = ArrayReshaper((2, 2)).set_output(transform="pandas")
    assert to_images.fit_transform(named).shape == (3, 2, 2)


@pytest.mark.parametrize("shape", [(), (3, -1), (-1, -1), (5,), (2, 3), 0, -2, "flat", 4.0])
def test_a_shape_that_rows_do_not_fit_is_refused(shape):
    with pytest.raises(ValueError, match="shape="):
        ArrayReshaper(shape).fit(np.zeros((3, 2, 2)))


def test_rows_of_another_shape_are_refused():
    reshaper = ArrayReshaper().fit(np.zeros((3, 2, 2)))
    with pytest.raises(ValueError, match=r"rows of shape \(4, 1\); expected \(2, 2\)"):
        reshaper.transform(np.zeros((3, 4, 1)))
    with pytest.raises(ValueError, match=r"rows of shape \(5,\); expected \(4,\)"):
        reshaper.inverse_transform(np.zeros((3, 5)))


def test_lazy_images_become_lazy_vectors_and_back():
    images = np.arange(60 * 28 * 28, dtype="uint8").reshape(60, 28, 28)
    lazy = data.lazy(images[:20], images[20:])
    reshaper = ArrayReshaper().fit(lazy)
    vectors = reshaper.transform(lazy)
    assert isinstance(vectors, data.LazyArray)
    assert (vectors.shape, vectors.dtype) == ((60, 784), np.uint8)
    back = reshaper.inverse_transform(vectors[5:])
    assert isinstance(back, data.LazyArray)
    assert np.array_equal(np.asarray(back), images[5:])
    assert np.array_equal(np.asarray(reshaper.transform(images)), np.asarray(vectors))
    loaded = pickle.loads(pickle.dumps(vectors[:3]))
    assert np.array_equal(np.asarray(loaded), images[:3].reshape(3, 784))
    with pytest.raises(ValueError, match="at least 2 axes"):
        ArrayReshaper().fit(data.lazy(np.zeros(3)))


@pytest.mark.parametrize("container", ["pandas", "polars"])
@pytest.mark.parametrize("by_config", [False, True], ids=["set_output", "config"])
def test_set_output_leaves_lazy_arrays_lazy(container, by_config):
    images = np.arange(24.0).reshape(6, 2, 2)
    lazy = data.lazy(images)
    with config_context(transform_output=container if by_config else "default"):
        reshaper = ArrayReshaper()
        if not by_config:
            reshaper.set_output(transform=container)
        vectors = reshaper.fit_transform(lazy)
        assert isinstance(vectors, data.LazyArray)
        assert isinstance(reshaper.fit(images).transform(lazy), data.LazyArray)
        assert isinstance(reshaper.inverse_transform(vectors), data.LazyArray)
        frame = reshaper.transform(images)
        assert type(frame).__module__.startswith(container)
        assert list(frame.columns) == ["x0", "x1", "x2", "x3"]
