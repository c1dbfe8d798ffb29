"""Every benchmark, one after the other: `python -m benchmarks [NAME…]`. Each prints its table and writes build/bench/NAME.json."""

import subprocess
import sys

NAMES = ("commands", "retrieval", "models", "language_latency", "answer_latency", "edge", "running", "answers")


def main(wanted: list[str]) -> int:
    unknown = set(wanted) - set(NAMES)
    if unknown:
        print(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    failed = [
        name for name in wanted or NAMES if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode
    ]
    if failed:
        print(f"did not end well: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
