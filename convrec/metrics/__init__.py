"""Ranking metrics: pure functions of arrays, one metric a file, listed in `registry`.

`matcher` and `protocols` turn the text of recommended lists into the arrays that metrics read.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
