"""Names of models on the Hugging Face hub."""

import re

HUB_ID = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[\w.-]+))?")


def hub_id_of(model: str) -> re.Match[str] | None:
    """The `name` and `revision` of `owner/name` or `owner/name@revision`; None for anything else."""
    return HUB_ID.fullmatch(model)
