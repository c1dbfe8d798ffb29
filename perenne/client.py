"""Reaching a running Perenne. The only module of the contract that imports ray, and only when actors are called."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, cast

from perenne import names
from perenne.errors import Busy, DeadlineExceeded, PerenneError, Unavailable


def _translate(error: BaseException, name: str) -> BaseException:
    """Ray's errors in our words; what the owner itself raised comes through as it was."""
    from ray import exceptions as ray_errors

    if isinstance(error, PerenneError):
        return error
    cause = getattr(error, "cause", None)
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


class RayDirectory:
    """Finds actors and models by name in the cluster that this process is connected to."""

    def __init__(self) -> None:
        self._handles: dict[str, Any] = {}

    def __reduce__(self) -> tuple[type["RayDirectory"], tuple[()]]:
        return RayDirectory, ()

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
        handle = await self._handle(name)
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
