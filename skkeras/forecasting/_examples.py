"""Window examples: a forecaster's windows, and the outcomes that follow them."""

import dataclasses
from typing import Any

from skkeras._examples import Table
from skkeras._sample_weights import relative_weights
from skkeras.forecasting._windows import outcomes, split_origins


@dataclasses.dataclass(frozen=True, eq=False)
class WindowExamples(Table):
    """Windows of series, as the third kind of examples; ``X`` is `Inputs`, ``y`` is `Windows`.

    The windows are cut from the rows of ``layout``; ``masks`` tell which rows to train on and which
    to hold out (None: none), and a window forecasts ``horizon`` rows. ``codes`` are the numbers of
    the windows' series among ``groups``.
    """

    layout: Any = None
    masks: Any = None
    horizon: int = 1
    groups: Any = None
    codes: Any = None

    are_gathered = True

    def can_spare(self, least_rows=None):
        """Tell that none are held out unasked."""
        return False

    def shown(self, rows):
        """Return some windows (all for None) as an array, to a builder that asks for them."""
        return self.X[slice(None) if rows is None else rows]

    def split(self, split, wanted, target, groups, seed):
        """Split the windows by the rows that they forecast; those of both parts are left out."""
        masks = map(self.layout.spread, self.masks)
        train, validation = split_origins(self.X.origins, self.horizon, *masks)
        if not len(train) or not len(validation):
            raise ValueError(
                f"validation_split={split!r} leaves {len(train)} windows to train on and "
                f"{len(validation)} to validate on; expected some of both. Hold out another part, "
                "give more rows, or a smaller look_back or horizon."
            )
        return train, validation

    def moments(self, target, rows):
        """Return None: the windows are scaled by the forecaster, if at all."""
        return None

    def weights(self, rows, facts):
        """Weigh each window by the mean weight of the rows that it forecasts."""
        weight = relative_weights(self.sample_weight, self.layout.positions)
        if weight is None:
            return None
        weight = self.layout.spread(weight[:, None])
        windows = outcomes(weight, self.X.origins, self.horizon)
        return relative_weights(windows[:].mean(axis=1), self.X, rows)
