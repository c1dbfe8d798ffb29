"""One soak: an instance of its own, clients, faults and the account of both."""

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.live.running import ROOT, RunningInstance, mark_of_run
from tests.soak import plan, report
from tests.soak.account import Account, Accountant
from tests.soak.alarms import SOONER, Alarms
from tests.soak.caller import Caller, Meter, Unanswered
from tests.soak.client import Client
from tests.soak.faults import HOME_BYTES, RESERVE_BYTES, Blow, Striker
from tests.soak.gauges import Gauges
from tests.soak.journal import Journal, Thing
from tests.soak.streams import FOLLOW_S

OUT = ROOT / "build" / "soak.json"
_LOOK_S = 5.0
_END_WITHIN_S = 300.0  # what clients have under way when the load is over
CONFIG = """index: {{kind: sq8, graph_rows: 64, tail_rows: 32}}
disk: {{reserve_bytes: {reserve}}}
outgoing: {{allow: [127.0.0.1/32]}}
alerts: {{wait_s: 1, interval_s: 2, per_hour: 1000, all_per_hour: 10000}}
"""


@dataclass(frozen=True)
class Wanted:
    """What is to be run."""

    seconds: float
    seed: int
    clients: int = 6
    gap_s: tuple[float, float] = (6.0, 18.0)
    only: tuple[str, ...] = ()  # faults
    kinds: tuple[str, ...] = ()  # operations
    mutant: str = ""
    stop_at_wrong: bool = False  # end as soon as something is found wrong
    follow_s: float = FOLLOW_S  # what is not answered within this never is


class Soak:
    """`run` returns the report; it is whole also when something failed."""

    def __init__(self, wanted: Wanted, folder: Path) -> None:
        self._wanted, self._folder = wanted, folder
        self._faults = plan.faults(wanted.seed, wanted.seconds, wanted.gap_s, wanted.only)
        self._meter, self._journal = Meter(), Journal(folder / "journal.jsonl")
        self._mark = mark_of_run()
        self._blows: list[Blow] = []
        self._found = Account()
        self._failures: list[str] = []
        self._settled: list[str] = []
        self._probes = 0

    async def run(self) -> dict[str, Any]:
        wanted = self._wanted
        environment = {"PERENNE_CHAOS": "1", "PERENNE_MUTANT": wanted.mutant} if wanted.mutant else {}
        with _instance(environment) as (instance, can_fill):
            self._instance, self._gauges, alarms = instance, Gauges(instance), Alarms(instance)
            try:
                await asyncio.to_thread(instance.start)
                key = instance.key
                async with self._callers(instance, key) as callers:
                    await alarms.begin()
                    await self._load(callers, Striker(instance, lambda: self._probe(callers[-1]), can_fill))
                    told = await self._end(callers[-1], alarms)
                code = await asyncio.to_thread(instance.stop)
                left = await asyncio.to_thread(instance.processes)
                if code or left:
                    self._failures.append(f"the end: code {code}, left {[held.command()[:2] for held in left.values()]}")
            finally:
                alarms.close()
                self._journal.close()
        return self._report(told)

    @contextlib.asynccontextmanager
    async def _callers(self, instance: RunningInstance, key: str) -> AsyncIterator[list[Caller]]:
        """One a client, and the last for the account."""
        held = [Caller(instance, self._meter, lambda: key) for _ in range(self._wanted.clients + 1)]
        try:
            yield held
        finally:
            for each in held:
                await each.close()

    async def _load(self, callers: list[Caller], striker: Striker) -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        clients = [
            Client(n, self._mark, callers[n], self._journal, self._folder, self._wanted.follow_s)
            for n in range(self._wanted.clients)
        ]
        begun = loop.time()
        working = [
            asyncio.create_task(client.run(plan.operations(self._wanted.seed, n, self._wanted.kinds), stop))
            for n, client in enumerate(clients)
        ]
        looking = asyncio.create_task(self._look(stop))
        try:
            await self._strike(striker, begun, callers[-1])
            while loop.time() - begun < self._wanted.seconds and not self._over():
                await asyncio.sleep(0.2)
        finally:
            stop.set()
            _, late = await asyncio.wait(working, timeout=_END_WITHIN_S)
            for task in late:
                task.cancel()
            ended = await asyncio.gather(*working, return_exceptions=True)
            await looking
        self._failures += [f"a client failed: {each!r}" for each in ended if isinstance(each, BaseException)]
        self._operations = sum(client.done for client in clients)

    async def _strike(self, striker: Striker, begun: float, caller: Caller) -> None:
        """Each fault at its time, or when the one before is over; an account after each."""
        loop = asyncio.get_running_loop()
        accountant = Accountant(caller, self._journal, self._mark)
        for fault in self._faults:
            await asyncio.sleep(max(0.0, begun + fault.at_s - loop.time()))
            if loop.time() - begun > self._wanted.seconds or self._over():
                return
            self._journal.note("fault", **asdict(fault))
            self._meter.striking += 1
            try:
                blow = await striker.strike(fault)
            finally:
                self._meter.striking -= 1
            self._blows.append(blow)
            self._journal.note("healed", number=fault.number, answers_s=blow.answers_s, whole_s=blow.whole_s, wrong=blow.wrong)
            print(_line(blow), flush=True)
            if blow.wrong:
                self._failures.append(blow.wrong)
            account = await accountant.quick()
            if not account.clean:
                self._journal.note("account", after=fault.number, **account.told())
            account.looked_for = 0
            self._found.add(account)

    def _over(self) -> bool:
        return self._wanted.stop_at_wrong and bool(self._journal.wrong or self._failures or not self._found.clean)

    async def _probe(self, caller: Caller) -> None:
        """A write that is begun now."""
        self._probes += 1
        name = f"{self._mark}-probe-{self._probes}"
        thing = self._journal.begin(Thing("conversation", name, -1, others={"title": name}), name)
        try:
            answer = await caller.ask("probe", "POST", "/api/conversations", command=name, json={"title": name})
        except Unanswered as error:
            raise TimeoutError(str(error)) from error
        assert answer.is_success, f"a write says {answer.status_code} {answer.text[:200]}"
        self._journal.acknowledge(thing, answer.json()["id"])

    async def _look(self, stop: asyncio.Event) -> None:
        every = max(_LOOK_S, self._wanted.seconds / 400)
        while not stop.is_set():
            with contextlib.suppress(OSError):
                await asyncio.to_thread(self._gauges.look, lambda: bool(self._meter.striking))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), every)

    async def _end(self, caller: Caller, alarms: Alarms) -> Any:
        accountant = Accountant(caller, self._journal, self._mark)
        try:
            if not self._over():
                self._settled = await accountant.settle()
            self._found.add(await accountant.whole())
            told, wrong = await alarms.end(self._blows)
        except (Unanswered, OSError, RuntimeError, subprocess.TimeoutExpired) as error:
            self._failures.append(f"the account could not be made: {error!r}")
            return {"there": alarms.there, "raised": None, "resolved": None, "delivered": None, "doubled": None, "expected": []}
        self._failures += [f"alerts: {words}" for words in wrong]
        return asdict(told)

    def _report(self, alerts: dict[str, Any]) -> dict[str, Any]:
        found, streams = self._found, 0
        with self._journal.path.open() as lines:
            streams = sum('"what": "stream"' in line for line in lines)
        failures = [
            *self._failures, *self._journal.wrong, *self._settled, *found.lost, *found.doubled, *found.returned, *found.changed,
            *found.unfound,
        ]  # fmt: skip
        return {
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "seed": self._wanted.seed, "seconds": self._wanted.seconds, "clients": self._wanted.clients, "profile": "tiny",
            "cpus": os.cpu_count(), "mutant": self._wanted.mutant, "passed": not failures,
            "plan": plan.told(self._faults), "work": plan.fingerprint(self._wanted.seed, self._wanted.clients, self._wanted.kinds),
            "drawn": len(self._faults), "struck": sum(blow.struck for blow in self._blows),
            "faults": [{**asdict(blow), "name": blow.fault.name} for blow in self._blows],
            "operations": self._operations, "acknowledged": self._journal.acknowledged, "streams": streams,
            "lost": len(found.lost), "doubled": len(found.doubled), "account": found.told(), "wrong": self._journal.wrong,
            "recovery": report.recoveries(self._blows), "latency": report.latencies(self._meter), "not_now": dict(self._meter.later),
            "growth": self._gauges.slopes(), "growers": self._gauges.growers(), "samples": self._gauges.samples,
            "alerts": alerts, "failures": failures, "last_operations": list(self._journal.last) if failures else [],
        }  # fmt: skip


@contextlib.contextmanager
def _instance(environment: dict[str, str]) -> Iterator[tuple[RunningInstance, bool]]:
    """An instance whose home is a disk of its own, where one can be mounted."""
    instance = RunningInstance(**environment)
    options = ["-t", "tmpfs", "-o", f"size={HOME_BYTES},mode=700", "tmpfs", str(instance.home)]
    mount = shutil.which("mount")
    mounted = mount is not None and subprocess.run([mount, *options], capture_output=True, check=False).returncode == 0
    try:
        (instance.home / "config.yaml").write_text(CONFIG.format(reserve=RESERVE_BYTES))
        (instance.home / "alerts.yaml").write_text(SOONER)
        yield instance, mounted
    finally:
        instance.close()
        if mounted:
            subprocess.run(["umount", str(instance.home)], check=False, capture_output=True)
            shutil.rmtree(instance.home, ignore_errors=True)


def _line(blow: Blow) -> str:
    told = f"writes again after {blow.answers_s} s, all up after {blow.whole_s} s" if blow.struck else blow.note
    return f"{blow.fault.number:4d}  {blow.fault.name:24s} {told} {blow.wrong}".rstrip()


async def soak(wanted: Wanted, out: Path = OUT) -> dict[str, Any]:
    """Run it, and write its report."""
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    told = await Soak(wanted, folder).run()
    await asyncio.to_thread(_write, out, told)
    if told["passed"]:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        told["journal"] = str(folder / "journal.jsonl")
    return told


def _write(out: Path, told: dict[str, Any]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(told, indent=1) + "\n")
