"""`python -m tests.soak --seconds S --seed N`: load and faults, and the page of figures. Ends with 1 when a promise was broken."""

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from tests.soak import report
from tests.soak.running import OUT, Wanted, soak


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="how long the load lasts")
    parser.add_argument("--seed", type=int, default=1, help="what is done and what strikes is drawn from it")
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument(
        "--gap", type=float, nargs=2, default=(6.0, 18.0), metavar="S", help="least and most seconds between faults"
    )
    parser.add_argument("--fault", action="append", default=[], help="this fault only, as 'kill StoreWriter'; may be repeated")
    parser.add_argument("--operation", action="append", default=[], help="this kind of operation only; may be repeated")
    parser.add_argument("--mutant", default="", help="an instance that breaks a promise on purpose: the soak has to fail")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    if given.seconds <= 0 or given.clients < 1 or not 0 < given.gap[0] <= given.gap[1]:
        parser.error("expected --seconds above 0, --clients of at least 1 and --gap of two rising numbers")
    try:
        wanted = Wanted(
            given.seconds, given.seed, given.clients, tuple(given.gap), tuple(given.fault), tuple(given.operation), given.mutant,
            stop_at_wrong=bool(given.mutant),
        )  # fmt: skip
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        told = asyncio.run(soak(wanted, given.out))
    except ValueError as error:
        parser.error(str(error))
    print(report.page(told))
    if told["passed"]:
        return 0
    print("\n".join(("the last that was done:", *told["last_operations"])), file=sys.stderr)
    print(f"again: make soak S={given.seconds:g} SEED={given.seed}; every write is in {told['journal']}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
