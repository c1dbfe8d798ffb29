"""`ray start`, without the groups of commands that it would import for nothing: Serve's, jobs' and the state API's (0.8 s)."""

import sys
from typing import Any, cast

SPARE = ("ray.serve.scripts", "ray.dashboard.modules.job.cli", "ray.util.state.state_cli")


def main() -> None:
    for module in SPARE:
        sys.modules.setdefault(module, cast("Any", None))  # importing it now fails, which `ray` takes for not installed
    from ray.scripts.scripts import main as ray

    ray()


if __name__ == "__main__":
    main()
