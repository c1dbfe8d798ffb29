"""Text up to the first of some stop strings, told as soon as it is sure."""

from collections.abc import Sequence


class Stops:
    """Text goes in as it is written; what can't be the beginning of a stop string any more comes out."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.found = False

    def take(self, text: str) -> str:
        """What may be told now. Nothing after a stop string was `found`, nor the stop string."""
        if self.found:
            return ""
        self._held += text
        places = [place for place in map(self._held.find, self._stops) if place >= 0]
        if places:
            self.found = True
            told, self._held = self._held[: min(places)], ""
            return told
        kept = max((self._begun(stop) for stop in self._stops), default=0)
        told, self._held = self._held[: len(self._held) - kept], self._held[len(self._held) - kept :]
        return told

    def _begun(self, stop: str) -> int:
        """How many characters at the end of the text are the beginning of this stop string."""
        longest = min(len(stop) - 1, len(self._held))
        return next((n for n in range(longest, 0, -1) if self._held.endswith(stop[:n])), 0)

    def rest(self) -> str:
        """What was held back and no stop string came of; the end."""
        told, self._held = self._held, ""
        return told
