"""build/soak.json, and the page of figures."""

import statistics
from collections import defaultdict
from typing import Any

from tests.soak.caller import Meter
from tests.soak.faults import Blow


def percentile(values: list[float], share: float) -> float | None:
    """The value that so many are at most; None of none."""
    if not values:
        return None
    return round(sorted(values)[min(len(values) - 1, int(share * len(values)))], 1)


def recoveries(blows: list[Blow]) -> list[dict[str, Any]]:
    """By fault: how often, how long until a write was acknowledged again and until all was up."""
    by_name = defaultdict[str, list[Blow]](list)
    for blow in blows:
        by_name[blow.fault.name].append(blow)
    rows: list[dict[str, Any]] = []
    for name, held in sorted(by_name.items()):
        answers = [blow.answers_s for blow in held if blow.answers_s is not None]
        whole = [blow.whole_s for blow in held if blow.whole_s is not None]
        rows.append(
            {
                "fault": name,
                "struck": sum(blow.struck for blow in held),
                "writes_p50_s": round(statistics.median(answers), 2) if answers else None,
                "writes_max_s": max(answers, default=None),
                "whole_p50_s": round(statistics.median(whole), 2) if whole else None,
                "whole_max_s": max(whole, default=None),
                "notes": sorted({blow.note for blow in held if blow.note}),
            }
        )
    return rows


def latencies(meter: Meter) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for kind in sorted({*meter.outside, *meter.inside}):
        quiet, struck = meter.outside[kind], meter.inside[kind]
        rows.append(
            {
                "kind": kind,
                "outside": len(quiet), "outside_p50_ms": percentile(quiet, 0.5), "outside_p99_ms": percentile(quiet, 0.99),
                "inside": len(struck), "inside_p50_ms": percentile(struck, 0.5), "inside_p99_ms": percentile(struck, 0.99),
            }
        )  # fmt: skip
    return rows


def page(report: dict[str, Any]) -> str:
    """The figures, to be read."""
    account, alerts = report["account"], report["alerts"]
    lines = [
        f"# {report['seconds']} s of load and faults, seed {report['seed']}",
        "",
        f"{report['at']}, {report['cpus']} cores, profile {report['profile']}, {report['clients']} clients, operations {report['operations']}.",
        f"{report['struck']} faults injected of {report['drawn']} drawn; {report['acknowledged']:,} writes acknowledged, "
        f"{account['looked_for']:,} looked for at the end.",
        "",
        f"**lost {report['lost']}, doubled {report['doubled']}, removed and back {len(account['returned'])}, changed "
        f"{len(account['changed'])}, not found by search {len(account['unfound'])}; streams {report['streams']}, "
        f"contradictions {len(report['wrong'])}.**",
        "",
        "| fault | struck | writes again p50 / max, s | all up p50 / max, s | |",
        "|---|---:|---:|---:|---|",
        *(
            f"| {row['fault']} | {row['struck']} | {_or(row['writes_p50_s'])} / {_or(row['writes_max_s'])} | "
            f"{_or(row['whole_p50_s'])} / {_or(row['whole_max_s'])} | {'; '.join(row['notes'])} |"
            for row in report["recovery"]
        ),
        "",
        "| request | outside of faults | p50 / p99, ms | inside | p50 / p99, ms |",
        "|---|---:|---:|---:|---:|",
        *(
            f"| {row['kind']} | {row['outside']} | {_or(row['outside_p50_ms'])} / {_or(row['outside_p99_ms'])} | {row['inside']} | "
            f"{_or(row['inside_p50_ms'])} / {_or(row['inside_p99_ms'])} |"
            for row in report["latency"]
        ),
        "",
        "| over time | first | last | most | an hour |",
        "|---|---:|---:|---:|---:|",
        *(
            f"| {name} | {_or(row['first'])} | {_or(row['last'])} | {_or(row['max'])} | {_or(row['per_hour'])} "
            f"(over {row['over_s']} s, {row['samples']} samples) |"
            for name, row in report["growth"].items()
        ),
        "",
        _alerts(alerts),
        *(f"- memory of {row['process']}: {row['first_mb']} MB, then {row['last_mb']} MB" for row in report["growers"]),
        *(f"- WRONG: {words}" for words in report["failures"]),
    ]
    return "\n".join(lines) + "\n"


def _alerts(alerts: dict[str, Any]) -> str:
    if not alerts["there"]:
        return "Alerts: not there."
    told = "; ".join(
        f"fault {each['fault']} {each['event']}: raised {each['raised']}, delivered {each['delivered']}, resolved {each['resolved']}"
        for each in alerts["expected"]
    )
    return (
        f"Alerts: {alerts['raised']} raised, {alerts['resolved']} resolved, {alerts['delivered']} messages delivered, "
        f"{alerts['doubled']} told twice. {told}"
    )


def _or(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"
