"""What the owner can set: read once at boot, from defaults, a profile, the home's own file and the environment, in that order."""

import hashlib
import os
import re
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from perenne.errors import ConfigurationError
from perenne.schedules import check_cron

CONFIGS = Path(__file__).resolve().parent.parent / "configs"


_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelSettings(_Frozen):
    """One model. `engine` by name; `model` is a catalogue id, a path or a hub id; `url` and `api_key` for OpenAI-compatible endpoints."""

    engine: Literal["llama_cpp", "onnx", "openai", "transformers"]
    model: str
    url: str | None = None
    api_key: str | None = Field(default=None, repr=False)
    context_tokens: int = 8192
    threads: int | None = None
    idle_unload_s: float = 1800.0
    queue: int = 8

    @property
    def space(self) -> str:
        """The name of the space that its vectors are of: the model itself, and for a path or a hub id something that can name a
        folder, an actor and a row, and that no other model has."""
        if _PLAIN.fullmatch(self.model):
            return self.model
        last = re.sub(r"[^A-Za-z0-9._]+", "-", self.model.rstrip("/").rpartition("/")[2]).strip("-.") or "model"
        return f"{last[:60]}-{hashlib.sha256(self.model.encode()).hexdigest()[:10]}"


class StoreSettings(_Frozen):
    url: str | None = Field(default=None, repr=False)  # postgresql://…; None: SQLite at HOME/store/perenne.db
    readers: int = 1
    queue: int = Field(default=4096, ge=256)  # commands; at least what one call may carry
    batch: int = 512


class IngestSettings(_Frozen):
    """Caps on one file, and the shape of a chunk in characters. What an archive may unpack to, hold and nest is counted over all
    that is in it."""

    workers: int = 1
    file_bytes_max: int = 256 << 20
    pages_max: int = 20_000
    unpacked_bytes_max: int = 512 << 20
    entries_max: int = 20_000
    nesting_max: int = 3
    text_chars_max: int = 50_000_000
    memory_bytes_max: int = 2 << 30
    cpu_s_max: float = 300.0
    wall_s_max: float = 600.0
    chunk_chars: int = 900
    lease_s: float = 30.0


class IndexSettings(_Frozen):
    """How vectors are searched. `kind`: every row looked at (`flat`), a graph over the vectors (`hnsw`) or over a byte for each of
    their components (`sq8`); `auto` decides by rows and memory. Under `graph_rows` every row is looked at whatever the kind."""

    kind: Literal["auto", "flat", "hnsw", "sq8"] = "auto"
    graph_rows: int = Field(default=131_072, ge=1)
    tail_rows: int = Field(default=16_384, ge=1)  # new rows in memory before they are merged, at least
    memory_bytes: int | None = None  # that all vectors of this PC may want; None: a quarter of the machine's


class EdgeSettings(_Frozen):
    replicas: int = 1
    hosts: tuple[str, ...] = ()  # public names by which it may be called, such as that of a TLS proxy in front of it
    behind_tls_proxy: bool = False  # one is before it: another address than loopback is fine, and X-Forwarded-* are believed
    body_bytes_max: int = 8 << 20
    upload_bytes_max: int = 256 << 20
    uploads_max: int = Field(default=64, ge=1)  # unfinished resumable uploads of one user, and their bytes in all
    uploads_bytes_max: int = 4 << 30
    upload_kept_s: float = 86_400.0  # how long one waits for its next byte
    requests_per_minute: int = 6_000
    ongoing_requests_max: int = 512  # of one replica, WebSockets apart
    sockets_max: int = Field(default=1_024, ge=1)  # WebSockets of one replica, and those of one key
    sockets_per_key: int = Field(default=256, ge=1)
    socket_queue: int = Field(default=1_024, ge=1)  # messages that wait for one reader, and their bytes
    socket_queue_bytes: int = Field(default=1 << 20, ge=1)
    socket_behind_s: float = Field(default=5.0, gt=0)  # how long they may be too many; then the reader is too slow
    throughput: bool = True
    haproxy: bool = True


class SupervisionSettings(_Frozen):
    """When a child that does not stay up takes its group down, and how long a held group rests. See docs/supervision.md."""

    window_s: float = Field(default=60.0, gt=0)
    starts_max: int = Field(default=10, ge=4)  # of one child in a window; one more, and its group is started anew, then held
    hold_s: float = Field(default=60.0, gt=0)  # then it is tried again; each time in vain doubles it
    hold_max_s: float = Field(default=900.0, gt=0)
    drain_s: float = Field(default=5.0, ge=0)  # how long a stop waits for answers that are being written


class DiskSettings(_Frozen):
    """`reserve_bytes` of the home's disk stay free: below it nothing new is written. None: 1 % of the disk, at least 256 MB, at most
    2 GB."""

    reserve_bytes: int | None = Field(default=None, ge=0)
    logs_bytes_max: int = Field(default=256 << 20, ge=1 << 20)  # of Ray's logs, which are trimmed above it


class LogSettings(_Frozen):
    """What each process of the instance writes to HOME/logs: from which level on, and in files of which size; so many full ones stay
    beside the one that is written."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    bytes_max: int = Field(default=4 << 20, ge=64 << 10)
    kept: int = Field(default=1, ge=0, le=100)


class MemorySettings(_Frozen):
    """Budgets in bytes of memory (PSS), by the beginning of a child's name; 0: none. Below `low_share` of the machine's memory free,
    what can leave leaves."""

    low_share: float = Field(default=0.08, ge=0, lt=1)
    budgets: dict[str, int] = Field(
        default_factory=lambda: {
            "StoreWriter": 1 << 30,
            "StoreReader": 1 << 30,
            "IndexShard": 4 << 30,
            "BlobStore": 512 << 20,
            "RunHost": 1 << 30,
            "IngestHost": 1 << 30,
            "BackupKeeper": 1 << 30,
            "Notifier": 256 << 20,
            "AlertCenter": 256 << 20,
        }
    )

    def budget_of(self, child: str) -> int:
        """Of the longest beginning that fits; 0: none."""
        fits = [name for name in self.budgets if child.startswith(name)]
        return self.budgets[max(fits, key=len)] if fits else 0


class OutgoingSettings(_Frozen):
    """How messages leave by channels. `allow`: networks that may be connected to besides public addresses, such as 192.168.1.0/24 for a
    mail server at home. `ca_file`: certificates to trust instead of the usual ones."""

    allow: tuple[str, ...] = ()
    ca_file: str | None = None

    @field_validator("allow")
    @classmethod
    def _networks(cls, allow: tuple[str, ...]) -> tuple[str, ...]:
        for each in allow:
            ip_network(each)  # a ValueError says what is wrong
        return allow


class BackupSettings(_Frozen):
    """Where backups go (`target`: a folder or a URL that fsspec knows; None: HOME/backups), when (`schedule`, and `drill` for the trial of a
    restore: five fields of cron in the PC's own time; empty: never by itself), and which stay: the newest of so many hours, days, weeks and
    months. With a passphrase all is encrypted; lost, it takes the backups along. `moments_days`: SQLite's log is kept beside them, so that any
    moment of so many days can be brought back; 0: it is not."""

    target: str | None = Field(default=None, repr=False)
    passphrase: str | None = Field(default=None, repr=False)
    schedule: str = "0 * * * *"
    drill: str = "30 3 * * 0"
    hourly: int = Field(default=24, ge=0)
    daily: int = Field(default=7, ge=0)
    weekly: int = Field(default=5, ge=0)
    monthly: int = Field(default=12, ge=0)
    moments_days: int = Field(default=0, ge=0, le=366)

    @field_validator("schedule", "drill")
    @classmethod
    def _crons(cls, cron: str) -> str:
        return check_cron(cron)


class AlertSettings(_Frozen):
    """How alerts are told; the rules themselves are in configs/alerts.yaml and HOME/alerts.yaml. See docs/alerts.md."""

    wait_s: float = Field(default=10.0, ge=0)  # a group's first message waits for others of its group
    interval_s: float = Field(default=300.0, ge=0)  # between two messages about one group to one subscriber
    per_hour: int = Field(default=6, ge=2)  # changes of one alert that are told; more are held back for a summary
    all_per_hour: int = Field(default=60, ge=1)  # of all, but for critical ones
    escalate_after_s: float = Field(default=900.0, gt=0)  # a critical alert that nobody acknowledged
    escalations: int = Field(default=3, ge=0)


class Settings(_Frozen):
    """All of it. `home` holds all state of one instance; `ray_dir` is Ray's short temporary folder."""

    home: str
    host: str = "127.0.0.1"
    port: int = 8000
    port_base: int | None = None  # first of the block for Ray's own ports; None: found free once, kept in the home
    profile: str = "default"
    models_dir: str
    pc: str = "pc1"
    shards: int = 1
    language: ModelSettings
    embedding: ModelSettings
    reranking: ModelSettings | None = None  # puts what a search found in a better order; None: the order is the search's own
    store: StoreSettings = StoreSettings()
    ingest: IngestSettings = IngestSettings()
    index: IndexSettings = IndexSettings()
    edge: EdgeSettings = EdgeSettings()
    outgoing: OutgoingSettings = OutgoingSettings()
    backups: BackupSettings = BackupSettings()
    redis_url: str | None = Field(default=None, repr=False)  # redis://…: hints travel by it too; nothing is kept there
    supervision: SupervisionSettings = SupervisionSettings()
    disk: DiskSettings = DiskSettings()
    logs: LogSettings = LogSettings()
    memory: MemorySettings = MemorySettings()
    alerts: AlertSettings = AlertSettings()
    health_period_s: float = 1.0
    chaos: bool = False  # opens hooks that tests use to break things; never set in a shipped configuration

    @property
    def ray_dir(self) -> str:
        """Short and ours: a socket path over 107 bytes fails."""
        return "/tmp/perenne-" + hashlib.sha256(os.path.realpath(self.home).encode()).hexdigest()[:10]  # noqa: S108 - made 0700 by its owner

    def path(self, *parts: str) -> Path:
        """A path under the home."""
        return Path(self.home, *parts)

    @property
    def backups_target(self) -> str:
        return self.backups.target or str(self.path("backups"))

    @property
    def database_url(self) -> str:
        return self.store.url or f"sqlite:///{self.path('store', 'perenne.db')}"


def masked(text: str) -> str:
    """The text without the passwords of the addresses in it."""
    return re.sub(r"(://[^:/\s]*:)\S*@", r"\1***@", text)


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        held = merged.get(key)
        if isinstance(held, dict) and isinstance(value, Mapping):
            value = _merge(cast("dict[str, Any]", held), cast("Mapping[str, Any]", value))
        merged[key] = value
    return merged


def _read(path: Path) -> dict[str, Any]:
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"expected settings in {path}, which can't be read: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path} is not YAML: {error}") from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise ConfigurationError(f"{path}: expected a mapping of settings, got {type(loaded).__name__}")
    return cast("dict[str, Any]", loaded)


def home_of(env: Mapping[str, str]) -> Path:
    """Where an instance's state is: PERENNE_HOME, else ~/.perenne."""
    return Path(env.get("PERENNE_HOME") or Path.home() / ".perenne").expanduser().absolute()


def _own_is_there(home: Path) -> bool:
    try:
        return (home / "config.yaml").is_file()
    except PermissionError as error:
        raise ConfigurationError(f"{home} is closed to you: name a home of your own with PERENNE_HOME") from error


def load_settings(env: Mapping[str, str] = os.environ, configs: Path = CONFIGS) -> Settings:
    """Settings for this process. Raises ConfigurationError with every wrong field, what was expected and what came."""
    home = home_of(env)
    profile = env.get("PERENNE_PROFILE") or "default"
    values: dict[str, Any] = _read(configs / "default.yaml")
    if profile != "default":
        variant = configs / f"{profile}.yaml"
        if not variant.is_file():
            known = sorted(p.stem for p in configs.glob("*.yaml") if "profile:" in p.read_text(encoding="utf-8"))
            raise ConfigurationError(f"PERENNE_PROFILE={profile!r}: there is no such profile; there are {', '.join(known)}")
        values = _merge(values, _read(variant))
    if _own_is_there(home):
        values = _merge(values, _read(home / "config.yaml"))
    values |= {"home": str(home), "profile": profile}
    values["models_dir"] = env.get("PERENNE_MODELS") or values.get("models_dir") or str(home / "models")
    for name, field in (("PERENNE_HOST", "host"), ("PERENNE_PORT", "port"), ("PERENNE_PORT_BASE", "port_base")):
        if env.get(name):
            values[field] = env[name]
    if env.get("PERENNE_BEHIND_TLS_PROXY"):
        values["edge"] = _merge(values.get("edge") or {}, {"behind_tls_proxy": env["PERENNE_BEHIND_TLS_PROXY"]})
    if env.get("PERENNE_DATABASE_URL"):
        values["store"] = _merge(values.get("store") or {}, {"url": env["PERENNE_DATABASE_URL"]})
    if env.get("PERENNE_REDIS_URL"):
        values["redis_url"] = env["PERENNE_REDIS_URL"]
    for name, field in (("PERENNE_BACKUP_TARGET", "target"), ("PERENNE_BACKUP_PASSPHRASE", "passphrase")):
        if env.get(name):
            values["backups"] = _merge(values.get("backups") or {}, {field: env[name]})
    if env.get("PERENNE_CHAOS") == "1":
        values["chaos"] = True
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}, got {e['input']!r}" for e in error.errors()]
        raise ConfigurationError(masked("; ".join(lines))) from None  # its own words would show what came
