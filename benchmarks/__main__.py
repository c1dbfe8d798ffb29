"""Every benchmark, one after the other: `python -m benchmarks [NAME…]`. Each prints its table and writes build/bench/NAME.json.

Those that ask real questions need PERENNE_SAMPLES, a folder with retrieval/ in it; they are left out, with a word, without it.
"""

import os
import subprocess
import sys

NAMES = (
    "commands",
    "index",
    "scale",
    "retrieval",
    "lexical",
    "ingest",
    "models",
    "language_latency",
    "answer_latency",
    "edge",
    "fanout",
    "large",
    "running",
    "recovery",
    "answers",
)
NEED_SAMPLES = ("retrieval", "lexical", "ingest", "models", "large", "answers")


def main(wanted: list[str]) -> int:
    unknown = set(wanted) - set(NAMES)
    if unknown:
        print(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    chosen = list(wanted or NAMES)
    if not os.environ.get("PERENNE_SAMPLES"):
        left_out = [name for name in chosen if name in NEED_SAMPLES]
        chosen = [name for name in chosen if name not in NEED_SAMPLES]
        print(f"left out, for want of PERENNE_SAMPLES: {', '.join(left_out) or 'none'}", file=sys.stderr)
    failed = [name for name in chosen if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode]
    if failed:
        print(f"did not end well: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
