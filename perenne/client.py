"""Reaching a running Perenne. The only module of the contract that imports ray, and only when actors are called."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, cast

from perenne import correlation, names
from perenne.api import Perenne
from perenne.blocking import SyncPerenne
from perenne.errors import Busy, ConfigurationError, DeadlineExceeded, PerenneError, Unavailable
from perenne.line import Lines
from perenne.metrics import Instrument, Metric
from perenne.settings import home_of, load_settings

_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # at 0, Ray's core looks for the head on loopback, where ours is


def _translate(error: BaseException, name: str) -> BaseException:
    """Ray's errors in our words; what the owner itself raised comes through as it was."""
    from ray import exceptions as ray_errors

    cause = getattr(error, "cause", None)
    if isinstance(error, ray_errors.RayTaskError) and isinstance(cause, PerenneError):
        return cause  # before the next: Ray's error is of the cause's class too, and its words are the owner's traceback
    if isinstance(error, PerenneError):
        return error
    if isinstance(cause, PerenneError):
        return cause
    if isinstance(error, ray_errors.TaskCancelledError):
        return Unavailable(name, 0.2, "the call was cancelled")
    if isinstance(error, ray_errors.RayTaskError):
        return error
    if type(error).__name__ == "BackPressureError":  # ray.serve.exceptions: importing it here would load Serve everywhere
        return Busy(name, 1.0)
    if isinstance(error, ray_errors.GetTimeoutError):
        return DeadlineExceeded(name, 0.0)
    if isinstance(error, ray_errors.RayError):
        return Unavailable(name, 0.5, type(error).__name__)
    return error


def lines_folder(ray_dir: str) -> Path | None:
    """Where owners and callers on this PC have their lines; None in a process of no cluster, or where the instance has no folder.
    Each of Ray's nodes has its own: another instance with this path, on a PC that joined, is not met."""
    loaded: Any = sys.modules.get("ray")
    if loaded is None or not loaded.is_initialized() or not Path(ray_dir).is_dir():
        return None
    return Path(ray_dir, "lines", loaded.get_runtime_context().get_node_id()[:16])


class RayDirectory:
    """Finds actors and models by name in the cluster that this process is connected to. With `lines_of`, the
    instance's Ray folder, owners on this PC that have a line (`perenne.line`) are called over it; the others, and for streams
    all, through Ray."""

    def __init__(self, lines_of: str | None = None) -> None:
        self._handles: dict[str, Any] = {}
        self._lines_of = lines_of
        folder = None if lines_of is None else lines_folder(lines_of)
        self._lines = None if folder is None else Lines(folder)

    def __reduce__(self) -> tuple[type["RayDirectory"], tuple[str | None]]:
        return RayDirectory, (self._lines_of,)

    def _resolve(self, name: str) -> Any:
        import ray

        if name in names.MODELS or name == names.EDGE:
            from ray import serve as ray_serve

            return cast("Any", ray_serve).get_app_handle(name)
        return cast("Any", ray).get_actor(name, namespace=names.NAMESPACE)

    async def _handle(self, name: str) -> Any:
        handle = self._handles.get(name)
        if handle is None:
            try:
                handle = await asyncio.to_thread(self._resolve, name)
            except Exception as error:  # a missing name is a ValueError here, a RayServeException there
                raise Unavailable(name, 0.5, "it is not running yet") from error
            self._handles[name] = handle
        return handle

    def forget(self, name: str) -> None:
        """Resolve this name anew at the next call."""
        self._handles.pop(name, None)

    async def call(self, name: str, method: str, /, *, timeout_s: float, **kwargs: Any) -> Any:
        """One call, once; see `Directory.call`."""
        if self._lines is not None and (line := await self._lines.to(name, method)) is not None:
            return await line.call(method, timeout_s, kwargs)
        if (ids := correlation.ids()) is not None:
            kwargs[correlation.KEYWORD] = ids
        try:
            async with asyncio.timeout(timeout_s):
                handle = await self._handle(name)
                return await getattr(handle, method).remote(**kwargs)
        except TimeoutError:
            raise DeadlineExceeded(name, timeout_s) from None
        except Exception as error:
            translated = _translate(error, name)
            if isinstance(translated, Unavailable) and translated is not error:
                self.forget(name)
            raise translated from None

    async def stream(self, name: str, method: str, /, *, silence_s: float, **kwargs: Any) -> AsyncIterator[Any]:
        """The items of one streaming call; see `Directory.stream`."""
        try:
            async with asyncio.timeout(silence_s):  # a control plane that is away does not answer
                handle = await self._handle(name)
        except TimeoutError:
            raise DeadlineExceeded(name, silence_s) from None
        if (ids := correlation.ids()) is not None:
            kwargs[correlation.KEYWORD] = ids
        if name in names.MODELS or name == names.EDGE:
            source = getattr(handle.options(stream=True), method).remote(**kwargs)
        else:
            source = getattr(handle, method).options(num_returns="streaming").remote(**kwargs)
        finished = False
        try:
            while True:
                try:
                    async with asyncio.timeout(silence_s):
                        item = await anext(source)
                        if name not in names.MODELS and name != names.EDGE:
                            item = await item
                except StopAsyncIteration:
                    finished = True
                    return
                except TimeoutError:
                    raise DeadlineExceeded(name, silence_s) from None
                except Exception as error:
                    finished = True
                    translated = _translate(error, name)
                    if isinstance(translated, Unavailable):
                        self.forget(name)
                    raise translated from None
                yield item
        finally:
            if not finished:
                self._end(source)

    @staticmethod
    def _end(source: Any) -> None:
        """A dropped generator runs on: end its producer."""
        with contextlib.suppress(Exception):
            if hasattr(source, "cancel"):
                source.cancel()
            else:
                import ray

                cast("Any", ray).cancel(source)


class _RayInstrument:
    def __init__(self, metric: Metric) -> None:
        from ray.util import metrics as ray_metrics

        rays: Any = ray_metrics
        keys = ("actor", *metric.labels)
        if metric.kind == "counter":
            self._record: Any = rays.Counter(metric.name, description=metric.help, tag_keys=keys).inc
        elif metric.kind == "gauge":
            self._record = rays.Gauge(metric.name, description=metric.help, tag_keys=keys).set
        else:
            bounds = [float(bound) for bound in metric.buckets]
            self._record = rays.Histogram(metric.name, description=metric.help, boundaries=bounds, tag_keys=keys).observe

    def record(self, value: float, labels: Mapping[str, str]) -> None:
        self._record(value, tags=dict(labels))


def ray_instrument(metric: Metric) -> Instrument:
    """An instrument whose numbers stand among Ray's own, on Ray's metrics port, as `ray_` and the metric's name."""
    return _RayInstrument(metric)


def connect(address: str | None = None, *, key: str | None = None, home: str | None = None) -> Perenne:
    """A client. Without an address: actor handles of the instance whose home is `home` (else PERENNE_HOME, else ~/.perenne), on
    this PC. With one (``http://127.0.0.1:8000``): HTTP, with `key` or, when it is not given, PERENNE_KEY or the home's own key file.

    Raises Unavailable when no instance runs there, ConfigurationError when ray is not installed, was imported before or is in
    another cluster, or when the address has no scheme.
    """
    env = dict(os.environ) if home is None else {**os.environ, "PERENNE_HOME": home}
    if address is None:
        return _connect_actors(home_of(env))
    from perenne.http_api import HttpPerenne

    if not address.startswith(("http://", "https://")):
        raise ConfigurationError(f"expected an address such as http://127.0.0.1:8000, got {address!r}")
    return HttpPerenne(address, key or env.get("PERENNE_KEY") or key_of(home_of(env)))


def connect_sync(address: str | None = None, *, key: str | None = None, home: str | None = None) -> SyncPerenne:
    """`connect` for code that is not async: ``with perenne.connect_sync("http://127.0.0.1:8000") as client: client.ask("…")``."""
    return SyncPerenne(connect(address, key=key, home=home))


def key_of(home: Path) -> str | None:
    """The first key of the instance with this home, if this user may read it."""
    try:
        return (home / "key").read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def instance_of(home: Path) -> dict[str, Any]:
    """What a running instance wrote of itself in HOME/run/instance.json. Unavailable when there is none."""
    try:
        return json.loads((home / "run" / "instance.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Unavailable(f"Perenne at {home}", 5.0, "it is not running; start it with 'perenne up'") from error


def _same_cluster(joined: str, expected: str, home: Path) -> None:
    """ConfigurationError when this process is in another cluster. On the instance's PCs its address has other hosts, one port."""
    if joined.rpartition(":")[2] != expected.rpartition(":")[2]:
        raise ConfigurationError(
            f"expected a process that is in no Ray cluster or in that of Perenne at {home} ({expected}); it is in the one at "
            f"{joined}. Call ray.shutdown() first, or connect in another process"
        )


def _connect_actors(home: Path) -> Perenne:
    """Join the instance's Ray as a driver that adds nothing to it."""
    from perenne.actor_api import ActorPerenne

    instance = instance_of(home)
    settings = load_settings({**os.environ, "PERENNE_HOME": str(home)})
    needed = {_LOOPBACK: "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(instance["token_path"])}
    loaded: Any = sys.modules.get("ray")
    joined = loaded is not None and bool(loaded.is_initialized())
    if loaded is not None and joined:
        _same_cluster(loaded.get_runtime_context().gcs_address, instance["ray_address"], home)
    elif loaded is not None and any(os.environ.get(name) != value for name, value in needed.items()):
        wanted = " ".join(f"{name}={value}" for name, value in needed.items())
        raise ConfigurationError(
            "expected perenne.connect() before the first 'import ray', which reads how to reach the instance once and for all; "
            f"ray is imported already. Connect first, or set this before Python starts: {wanted}"
        )
    else:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.update(needed)
    try:
        import ray
    except ImportError as error:
        raise ConfigurationError("calling actors needs ray: pip install 'perenne[ray]', or connect to an address") from error
    if not joined:
        try:
            cast("Any", ray).init(
                address=instance["ray_address"], namespace=names.NAMESPACE, log_to_driver=False, logging_level="ERROR"
            )
        except Exception as error:
            raise Unavailable(f"Perenne at {home}", 2.0, f"its control plane does not answer: {error}") from error
    return ActorPerenne(RayDirectory(settings.ray_dir), pc=settings.pc, readers=settings.store.readers)
