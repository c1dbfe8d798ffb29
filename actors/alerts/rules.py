"""Rules as data: read from configs/alerts.yaml, changed by alerts.yaml in the home."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from perenne.alerting import check_events
from perenne.errors import ConfigurationError, InvalidRequest
from perenne.messages.alerts import Severity

Unit = Literal["count", "share", "seconds", "milliseconds", "bytes"]

_NAME = re.compile(r"[a-z][a-z0-9_]*")


class Rule(BaseModel):
    """When a signal means an alert.

    It holds while the value is `above` (or `below`) its bound. It has to hold for `for_s` before the alert fires; once it fires, it is over
    when the value was not past `clear_below` (or `clear_above`; without one, the bound itself) for `keep_s`. A signal that is not told again
    within `stale_s` is over too; 0: never. `inhibited_by`: rules (`name`), or one subject of a rule (`name/subject`), of which an alert
    that fires keeps this one quiet."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=_NAME)
    signal: str
    above: float | None = None
    below: float | None = None
    clear_below: float | None = None
    clear_above: float | None = None
    for_s: float = Field(default=0.0, ge=0)
    keep_s: float = Field(default=0.0, ge=0)
    stale_s: float = Field(default=0.0, ge=0)
    severity: Severity
    event: str
    group: str
    unit: Unit = "count"
    title: str = Field(min_length=1, max_length=200)
    text: str = ""
    advice: str
    inhibited_by: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _sense(self) -> Self:
        if (self.above is None) == (self.below is None):
            raise ValueError("expected one of above and below")
        if self.above is not None and (self.clear_above is not None or (self.clear_below or self.above) > self.above):
            raise ValueError("with above, clear_below is at most above, and there is no clear_above")
        if self.below is not None and (self.clear_below is not None or (self.clear_above or self.below) < self.below):
            raise ValueError("with below, clear_above is at least below, and there is no clear_below")
        if self.event.endswith("*"):
            raise ValueError(f"expected the type of one event, got {self.event!r}")
        try:
            check_events((self.event,))
            for words in (self.title, self.text, self.advice, *self.inhibited_by):
                words.format(subject="", value="", detail="")
        except InvalidRequest as error:
            raise ValueError(str(error)) from None
        except (KeyError, IndexError, AttributeError) as error:
            raise ValueError(f"expected {{subject}}, {{value}} or {{detail}} in braces, got {error}") from None
        return self

    def holds(self, value: float) -> bool:
        """Whether the value is past the bound."""
        return value > self.above if self.above is not None else value < (self.below or 0.0)

    def clear(self, value: float) -> bool:
        """Whether the value is so far back that an alert is over."""
        if self.above is not None:
            return value <= (self.above if self.clear_below is None else self.clear_below)
        return value >= ((self.below or 0.0) if self.clear_above is None else self.clear_above)


def shown(value: float, unit: Unit) -> str:
    """The value in words."""
    if unit == "share":
        return f"{value:.0%}"
    if unit == "bytes":
        return f"{value / (1 << 30):.1f} GB" if value >= 1 << 30 else f"{value / (1 << 20):.0f} MB"
    if unit == "milliseconds":
        return f"{value / 1000:.1f} s" if value >= 1000 else f"{value:.0f} ms"
    if unit == "seconds":
        for size, name in ((86_400.0, "days"), (3_600.0, "hours"), (60.0, "minutes")):
            if value >= 2 * size:
                return f"{value / size:.0f} {name}"
        return f"{value:.0f} seconds"
    return f"{value:g}"


def _read(path: Path) -> dict[str, Any]:
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"expected rules in {path}, which can't be read: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path} is not YAML: {error}") from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict) or not all(isinstance(fields, Mapping) for fields in loaded.values()):
        raise ConfigurationError(f"{path}: expected a mapping from the names of rules to their fields")
    return loaded


def _circles(rules: list[Rule]) -> list[str]:
    """Rules that would keep each other quiet."""
    above = {rule.name: {each.partition("/")[0] for each in rule.inhibited_by} for rule in rules}
    wrong: list[str] = []
    for name, direct in above.items():
        reached: set[str] = set()
        waiting = list(direct)
        while waiting:
            each = waiting.pop()
            if each not in reached:
                reached.add(each)
                waiting += above.get(each, ())
        if name in reached:
            wrong.append(f"{name}: inhibited_by: it would keep itself quiet")
    return wrong


def load_rules(shipped: Path, own: Path) -> tuple[Rule, ...]:
    """The rules that are shipped, as the owner's file changes them. ConfigurationError says every rule that makes no sense, and why."""
    given: dict[str, dict[str, Any]] = {name: dict(fields) for name, fields in _read(shipped).items()}
    if own.is_file():
        for name, fields in _read(own).items():
            given[name] = given.get(name, {}) | dict(fields)
    rules: list[Rule] = []
    wrong: list[str] = []
    for name, fields in given.items():
        if not fields.pop("enabled", True):
            continue
        try:
            rules.append(Rule.model_validate(fields | {"name": name}))
        except ValidationError as error:
            wrong += [f"{name}: {'.'.join(map(str, e['loc']))} {e['msg']}".replace("  ", " ") for e in error.errors()]
    known = set(given)
    wrong += _circles(rules)
    for rule in rules:
        strange = [each for each in rule.inhibited_by if each.partition("/")[0] not in known]
        wrong += [f"{rule.name}: inhibited_by: there is no rule {each!r}" for each in strange]
    if wrong:
        raise ConfigurationError(f"rules of alerts ({own} over {shipped}): " + "; ".join(wrong))
    return tuple(rules)
