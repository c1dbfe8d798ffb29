"""A numpy column that grows: what was read of it stays as it was."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Column:
    """Values of one type, or rows of one width. `view()` is valid for ever: rows are only added, never changed in place by
    this class, and growing moves to new memory."""

    def __init__(self, dtype: Any, width: int | None = None, values: NDArray[Any] | None = None) -> None:
        self._shape: tuple[int, ...] = () if width is None else (width,)
        self._data: NDArray[Any] = np.empty((0, *self._shape), dtype=dtype)
        self.length = 0
        if values is not None:
            self.extend(values)

    def extend(self, values: Any) -> None:
        """Add values at the end."""
        added = np.asarray(values, dtype=self._data.dtype)
        if added.size == 0:
            return
        added = added.reshape(-1, *self._shape)
        needed = self.length + len(added)
        if needed > len(self._data):
            grown = np.empty((max(needed, len(self._data) * 3 // 2, 64), *self._shape), dtype=self._data.dtype)
            grown[: self.length] = self._data[: self.length]
            self._data = grown
        self._data[self.length : needed] = added
        self.length = needed

    def view(self) -> NDArray[Any]:
        """All values so far, not copied."""
        return self._data[: self.length]
