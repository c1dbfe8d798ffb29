"""Which questions fit and which evaluate: by a hash of their id, so that no run of either ever mixes them."""

import hashlib

FIT_SHARE = 5  # one question in five fits


def fits(question_id: str, name: str) -> bool:
    """Whether a question is of the part that fits; of the few that cross languages, every second is."""
    return int(hashlib.sha256(question_id.encode()).hexdigest(), 16) % (2 if name == "pubmedqa-es" else FIT_SHARE) == 0
