"""The errors that skkeras raises beyond scikit-learn's and Keras's own."""


class ParameterNameError(ValueError):
    """A routed parameter, such as ``model__unitz``, has a name that nothing takes.

    Raised before training. The message names the nearest accepted name, and lists the others.
    """


class BuilderError(ValueError):
    """A builder cannot be called, or what it returned is not a usable ``keras.Model``."""


class SharedVariablesError(BuilderError):
    """A builder returned layers that an earlier net trains, so that fits would train each other's.

    Build new layers in the builder, or clone them there.
    """


class DivergenceError(RuntimeError):
    """Training turned to NaN or infinity, so the network would predict nonsense.

    Parameters
    ----------
    message : str
        What diverged, and what to change.
    epoch : int, default=None
        The epoch in which it happened, counted from 1.

    Attributes
    ----------
    epoch : int or None
        As given.
    """

    def __init__(self, message, epoch=None):
        # Both go to `args`, so that the error survives the pickling of joblib's workers.
        super().__init__(message, epoch)
        self.epoch = epoch

    def __str__(self):
        return str(self.args[0])
