"""The engine: compile once, train many.

From the top down: `running` chooses between programs and plain Keras; `training` and `plain` are
the two loops; `net` is the model of one fit; `cache` keeps the `program` objects that nets of one
architecture share, and `fingerprint` tells which those are; `assembling` and `compiling` make a
model from what the user gave, `building` does so without touching the user's random state; `rows`
hands out the data, `epochs` does in the order of an epoch and ahead of time, and `augmentation`
changes it; `streaming` hands out data that comes in batches of its own.
"""
