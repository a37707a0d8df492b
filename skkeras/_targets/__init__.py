"""Targets: what y is, the loss and output layer that suit it, and decoding of predictions.

`base` has what all kinds share, several outputs, and the encoding of rows; `classification`,
`steps` (a class at each of several positions) and `regression` have a kind each.
"""
