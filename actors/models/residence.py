"""How a model comes to live in a process and leaves it: pull, load, unload when idle, load again when asked."""

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from actors.models.engines import entry_for, files_for
from actors.models.protocols import EngineFigures
from actors.models.pull_progress import read_progress
from actors.models.weights import Weights
from perenne.errors import ModelNotReady, PerenneError
from perenne.messages.models import ModelPhase, ModelState
from perenne.settings import ModelSettings

log = logging.getLogger(__name__)
E = TypeVar("E", bound=Any)

_LOOK_S = 0.25  # how often the keeper looks at a pull, and whether the model is idle
_PULL_AGAIN_S = (5.0, 300.0)  # first and longest pause after a pull that failed
FAILED_AGAIN_S = 60.0  # one that failed is tried again by the next question after this: memory may be there by then
_ROOT = Path(__file__).resolve().parents[2]  # what a child process imports us from


class Residence(Generic[E]):
    """One model of a replica. A thread of its own (the keeper) does all that blocks, so that asking never waits for it.

    `make` gets the settings and the files and returns the engine; it may block. `resident`: never leaves when idle."""

    def __init__(
        self,
        role: str,
        settings: ModelSettings,
        models_dir: Path,
        make: Callable[[ModelSettings, tuple[Path, ...]], E],
        *,
        resident: bool = False,
    ) -> None:
        self._role, self._settings, self._models_dir, self._make = role, settings, models_dir, make
        self._resident = resident
        self._wanted = threading.Event()  # somebody waits for the engine
        self._wanted.set()
        self._closing = threading.Event()
        self._touched_at = time.monotonic()
        self._leave_at_s: float | None = None  # it was asked to leave once it is idle for this long
        self._phase: ModelPhase = "loading"
        self._progress: float | None = None
        self._detail = ""
        self._failed_at = 0.0
        self._repaired = False  # damaged weights are fetched anew once, not in a loop
        self.engine: E | None = None
        self._keeper = threading.Thread(target=self._keep, name=f"keeper-{role}", daemon=True)
        self._keeper.start()

    @property
    def phase(self) -> ModelPhase:
        return self._phase

    def want(self) -> None:
        """Load it if it left; a failed one is tried again."""
        self._touched_at = time.monotonic()
        self._wanted.set()

    def leave(self, idle_s: float) -> None:
        """Memory is short: leave once nobody asked for this long, sooner than the settings say; the next question loads it again."""
        self._leave_at_s = idle_s

    def ready_engine(self) -> E:
        """The engine, at once. ModelNotReady says where it is; one that left, or failed a while ago, is being loaded from this moment."""
        self._touched_at = time.monotonic()
        engine = self.engine
        if engine is None:
            since_s = time.monotonic() - self._failed_at
            if self._phase == "unloaded" or (self._phase == "failed" and since_s > FAILED_AGAIN_S):
                self.want()
            raise self.not_ready()
        return engine

    def not_ready(self) -> ModelNotReady:
        """Where it is, as an error."""
        words = f"{self._phase}: {self._detail}" if self._phase in ("failed", "missing") and self._detail else self._phase
        return ModelNotReady(
            f"the model {self._settings.model}", words, self._progress, 1.0 if self._phase == "loading" else 5.0
        )

    @property
    def is_coming(self) -> bool:
        """Whether it is on its way into memory: worth a short wait."""
        return self._phase in ("loading", "unloaded") and not self._closing.is_set()

    def state(self) -> ModelState:
        engine = self.engine
        figures = engine.figures() if engine is not None else EngineFigures()
        entry = entry_for(self._settings)
        dimension = getattr(engine, "dimension", None) or (entry.dimension if entry is not None else None)
        return ModelState(
            role=self._role,
            model_id=self._settings.model,
            phase=self._phase,
            progress=self._progress,
            detail=self._detail,
            context_tokens=self._settings.context_tokens if self._role == "language" else None,
            dimension=dimension,
            space=self._settings.space if self._role == "embedding" else None,
            queue=figures.queue,
            progress_age_s=figures.progress_age_s,
            pid=os.getpid(),
            prompt_tokens_per_s=figures.prompt_tokens_per_s,
            tokens_per_s=figures.tokens_per_s,
        )

    def close(self) -> None:
        """End the keeper, a running pull and the engine. Harmless twice."""
        self._closing.set()
        self._wanted.set()
        self._keeper.join(15.0)
        self._unload("unloaded")

    # The keeper's side

    def _set(self, phase: ModelPhase, detail: str = "", progress: float | None = None) -> None:
        if phase != self._phase:
            log.info("model %s is %s %s", self._settings.model, phase, detail)
        if phase == "failed":
            self._failed_at = time.monotonic()
        self._detail, self._progress, self._phase = detail, progress, phase

    def _keep(self) -> None:
        while not self._closing.is_set():
            if self.engine is not None:
                self._closing.wait(_LOOK_S)
                self._leave_if_idle()
            elif self._wanted.wait(1.0) and not self._closing.is_set():
                self._wanted.clear()
                try:
                    self._settle()
                except Exception as error:  # a state with words, never the end of the process
                    log.exception("model %s failed", self._settings.model)
                    self._set("failed", str(error) or type(error).__name__)  # MemoryError has no words

    def _leave_if_idle(self) -> None:
        engine = self.engine
        if self._resident or engine is None:
            return
        idle_s = min(engine.figures().idle_s, time.monotonic() - self._touched_at)
        limit_s = min(self._settings.idle_unload_s, self._leave_at_s if self._leave_at_s is not None else float("inf"))
        if idle_s > limit_s:
            self._leave_at_s = None
            self._unload("unloaded")

    def _unload(self, phase: ModelPhase) -> None:
        engine, self.engine = self.engine, None
        if engine is not None:
            self._wanted.clear()
            self._set(phase)
            try:
                engine.close()
            except Exception:  # what it held may stay held; the next one is loaded all the same
                log.exception("model %s did not let go of everything", self._settings.model)

    def _settle(self) -> None:
        entry = entry_for(self._settings)
        weights = None if entry is None else Weights(entry, self._models_dir)
        if weights is not None and not self._have(weights):
            return
        self._set("loading")
        files = () if self._settings.engine == "openai" else files_for(self._settings, self._models_dir)
        try:
            self.engine = self._make(self._settings, files)
        except PerenneError as error:
            if weights is None or not self._repair(weights):
                self._set("failed", str(error))
            return
        self._touched_at = time.monotonic()
        self._set("ready")

    def _repair(self, weights: Weights) -> bool:
        """Whether the weights were found damaged and are to be fetched anew: once, not in a loop."""
        if self._repaired:
            return False
        wrong = weights.wrong()
        for file in weights.entry.files:
            if file.name in wrong:
                weights.path(file).unlink(missing_ok=True)
        if wrong:
            self._repaired = True
            log.warning("the weights of %s are damaged (%s): they are fetched again", weights.entry.id, wrong)
            self._wanted.set()
        return bool(wrong)

    def _have(self, weights: Weights) -> bool:
        """Pull until the weights are there; False when this process is to end."""
        pause_s = _PULL_AGAIN_S[0]
        while not weights.is_installed:
            self._set("downloading", progress=0.0)
            said = self._pull_once(weights)
            if self._closing.is_set():
                return False
            if weights.is_installed:
                break
            self._set("missing", said)
            self._wanted.clear()
            if self._wait_or_wanted(pause_s):
                return False
            pause_s = min(_PULL_AGAIN_S[1], pause_s * 2)
        return True

    def _wait_or_wanted(self, pause_s: float) -> bool:
        """Pause; whoever asks for the model ends the pause. True when this process is to end."""
        self._wanted.wait(pause_s)
        return self._closing.is_set()

    def _pull_once(self, weights: Weights) -> str:
        """One child that pulls; what it said when it failed. It ends with this process: the keeper waits for it."""
        options = ["--models-dir", str(self._models_dir), "--parent-pid", str(os.getpid())]
        weights.partial.mkdir(parents=True, exist_ok=True)
        log_path = weights.partial / "pull.log"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))}
        with log_path.open("wb") as words:
            child = subprocess.Popen(
                [sys.executable, "-m", "actors.models.pull", weights.entry.id, *options],
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=words,
                env=environment,
            )
            while child.poll() is None:
                if self._closing.wait(_LOOK_S):
                    child.terminate()
                    child.wait(5.0)
                    return "stopped"
                progress = read_progress(weights.progress)
                if progress is not None and progress.phase in ("downloading", "verifying"):
                    self._set("downloading", progress.source, progress.share)
        return (
            log_path.read_text(encoding="utf-8", errors="replace").strip()[-600:] or f"the pull ended with {child.returncode}"
        )
