"""What tells the Notifier that there may be something to send: in memory, and over Redis where it is configured. Only a hint: what
there is to send is in the database, which is looked at all the same."""

import asyncio
import hashlib
import logging
from typing import Any, Protocol

from perenne.settings import Settings, masked

log = logging.getLogger(__name__)

_AGAIN_S = (0.2, 10.0)  # first and longest pause before Redis is tried again
_SILENCE_S = 15.0  # a connection that says nothing for so long is asked whether it lives


class Bell(Protocol):
    """Rung by whoever wrote something to send; heard by one loop."""

    def ring(self) -> None:
        """Never waits and never raises."""
        ...

    async def wait(self, within_s: float) -> bool:
        """Until it is rung, also while nobody waited; False when it was not within this time."""
        ...

    async def run(self) -> None:
        """What it needs to have running, until cancelled."""
        ...

    def state(self) -> str:
        """How it stands, for `health`."""
        ...


class MemoryBell:
    """Within this process."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        self._rung.set()

    async def wait(self, within_s: float) -> bool:
        try:
            async with asyncio.timeout(within_s):
                await self._rung.wait()
        except TimeoutError:
            return False
        self._rung.clear()
        return True

    async def run(self) -> None:
        await asyncio.Event().wait()

    def state(self) -> str:
        return "memory"


class RedisBell(MemoryBell):
    """Within this process, and from any other that publishes to `topic`. Without Redis it is the one in memory."""

    def __init__(self, url: str, topic: str) -> None:
        super().__init__()
        self._url, self.topic = url, topic
        self._publish = asyncio.Event()
        self._connected = False

    def ring(self) -> None:
        super().ring()
        self._publish.set()

    def state(self) -> str:
        return "redis" if self._connected else "redis is away; memory"

    async def run(self) -> None:
        pause_s = _AGAIN_S[0]
        while True:
            began = asyncio.get_running_loop().time()
            try:
                await self._connect()
            except Exception as error:  # whatever it is: a hint that does not come costs a look at the database
                if self._connected or pause_s == _AGAIN_S[0]:
                    log.warning("hints do not come over Redis: %s", masked(str(error)))
            finally:
                self._connected = False
            lasted = asyncio.get_running_loop().time() - began > _AGAIN_S[1]
            pause_s = _AGAIN_S[0] if lasted else min(_AGAIN_S[1], pause_s * 2)
            await asyncio.sleep(pause_s)

    async def _connect(self) -> None:
        from redis.asyncio import Redis

        redis: Any = Redis.from_url(self._url, socket_timeout=_SILENCE_S, socket_connect_timeout=5.0, health_check_interval=5)
        async with redis, redis.pubsub(ignore_subscribe_messages=True) as heard:
            await heard.subscribe(self.topic)
            self._connected = True
            super().ring()  # what was rung while nobody listened
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listen(heard))
                group.create_task(self._tell(redis))

    async def _listen(self, heard: Any) -> None:
        while True:
            message = await heard.get_message(timeout=5.0)
            if message is not None:
                super().ring()

    async def _tell(self, redis: Any) -> None:
        while True:
            await self._publish.wait()
            self._publish.clear()
            await redis.publish(self.topic, b"1")


def topic_of(settings: Settings) -> str:
    """Of this instance alone, though others may use the same Redis."""
    return f"perenne:{hashlib.sha256(settings.home.encode()).hexdigest()[:16]}:outbox"


def bell_of(settings: Settings) -> Bell:
    """The one that is configured."""
    return MemoryBell() if settings.redis_url is None else RedisBell(settings.redis_url, topic_of(settings))
