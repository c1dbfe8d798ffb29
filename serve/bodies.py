"""Bodies of `/api` requests: what is expected, with an example each."""

from typing import Annotated, Any, cast

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from perenne import names
from perenne.messages.alerts import Severity
from perenne.messages.records import Role, RunOptions, Scope
from perenne.messages.search import Filters
from serve.numbers import with_whole_numbers

NAME_CHARS_MAX = 200
_TITLE_CHARS_MAX = 500
_STOPS_MAX = 8
FIELDS_MAX = 64  # of one object: a refusal names each unknown field, and must not take seconds

Name = Annotated[str, Field(min_length=1, max_length=NAME_CHARS_MAX, pattern=r"\S")]
IdOrName = Annotated[str, Field(min_length=1, max_length=300)]
Said = Annotated[str, Field(max_length=names.MESSAGE_CHARS_MAX)]
Clock = Annotated[str, Field(max_length=5, pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
Stop = Annotated[str, Field(min_length=1, max_length=200)]


def example(**fields: Any) -> ConfigDict:
    """Unknown fields and other types (a text for a number) are refused, and the OpenAPI document shows this one."""
    return ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [fields]})


class Body(BaseModel):
    """What every body shares. Its lists fail fast: a refusal of a million wrong items would hold up the event loop."""

    @model_validator(mode="before")
    @classmethod
    def _fields(cls, given: Any) -> Any:
        if isinstance(given, dict) and len(cast("dict[str, Any]", given)) > FIELDS_MAX:
            raise ValueError(f"expected {FIELDS_MAX} fields at most")
        return with_whole_numbers(given)


class ProjectBody(Body):
    model_config = example(name="Letters of 1912")
    name: Name


class LinkBody(Body):
    model_config = example(project="default")
    project: IdOrName


class FiltersBody(Body):
    model_config = example(languages=["es"])
    document_ids: list[str] = Field(default=[], max_length=10_000, fail_fast=True)
    external_ids: list[str] = Field(default=[], max_length=10_000, fail_fast=True)
    languages: list[str] = Field(default=[], max_length=200, fail_fast=True)

    def filters(self) -> Filters:
        return Filters(
            document_ids=tuple(self.document_ids), external_ids=tuple(self.external_ids), languages=tuple(self.languages)
        )


class SearchBody(Body):
    model_config = example(query="When was the lighthouse built?", project="default", k=10)
    query: str = Field(min_length=1, max_length=names.QUERY_CHARS_MAX)
    project: IdOrName | None = None
    k: int = Field(default=10, ge=1, le=names.SEARCH_K_MAX)
    filters: FiltersBody | None = None


class OptionsBody(Body):
    model_config = example(grounded=True, temperature=0.2, k=8)
    grounded: bool = True
    temperature: FiniteFloat | None = Field(default=None, ge=0, le=2)
    top_p: FiniteFloat | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1, le=1_000_000)
    seed: int | None = Field(default=None, ge=0, lt=1 << 32)
    stop: list[Stop] = Field(default=[], max_length=_STOPS_MAX, fail_fast=True)
    k: int | None = Field(default=None, ge=1, le=names.SEARCH_K_MAX)
    history: list[Annotated[tuple[Role, Said], Field(strict=False)]] | None = Field(
        default=None, max_length=1000, fail_fast=True
    )

    def options(self) -> RunOptions:
        given = self.model_dump()
        given["stop"] = tuple(self.stop)
        given["history"] = None if self.history is None else tuple(self.history)
        return RunOptions(**given)


class MessageBody(Body):
    model_config = example(text="When was the lighthouse built?", project="default")
    text: str = Field(min_length=1, max_length=names.MESSAGE_CHARS_MAX, pattern=r"\S")
    project: IdOrName | None = None
    parent: IdOrName | None = Field(default=None, description="The answer that it follows; without it, the last that is shown.")
    edits: IdOrName | None = Field(
        default=None, description="A question of the user's that it stands beside, in a branch of its own."
    )
    options: OptionsBody | None = None


class RegenerateBody(Body):
    model_config = example(options={"temperature": 0.8})
    options: OptionsBody | None = None


class ConversationBody(Body):
    model_config = example(title="Lighthouses", project="default")
    title: str = Field(default="", max_length=_TITLE_CHARS_MAX)
    project: IdOrName | None = None


class TitleBody(Body):
    model_config = example(title="Lighthouses of Brittany")
    title: str = Field(max_length=_TITLE_CHARS_MAX)


class WatchBody(Body):
    model_config = example(path="/home/ana/papers", project="default", ignore=["drafts/*", "*.bak"])
    path: str = Field(min_length=1, max_length=4_096)
    project: IdOrName
    ignore: list[Annotated[str, Field(min_length=1, max_length=200)]] = Field(default=[], max_length=100, fail_fast=True)


class DrillBody(Body):
    model_config = example(backup_id="20261126T083000123Z-0a1b2c3d")
    backup_id: str | None = Field(default=None, min_length=1, max_length=100)


class AlertTestBody(Body):
    model_config = example(channel=None)
    channel: str | None = Field(
        default=None, max_length=NAME_CHARS_MAX, description="The id of a channel; none: every subscriber."
    )


class SilenceBody(Body):
    model_config = example(events=["disk.*"], for_s=3600, reason="moving files")
    events: list[Annotated[str, Field(min_length=1, max_length=100)]] = Field(default=[], max_length=100, fail_fast=True)
    labels: dict[Annotated[str, Field(max_length=100)], Annotated[str, Field(max_length=300)]] = Field(
        default={}, max_length=32
    )
    for_s: FiniteFloat = Field(gt=0, le=366 * 86_400)
    reason: str = Field(default="", max_length=NAME_CHARS_MAX)


class SubscriberBody(Body):
    model_config = example(
        name="backups by mail",
        channel="chn_0190b2f4c8e07a6b9d5e1f2c3a4b5d6e",
        events=["backup.*"],
        severity="info",
        quiet_from="22:00",
        quiet_until="07:00",
        time_zone="Europe/Madrid",
    )
    name: Name
    channel: str = Field(min_length=1, max_length=NAME_CHARS_MAX, description="The id of a channel.")
    events: list[Annotated[str, Field(min_length=1, max_length=100)]] = Field(default=[], max_length=100, fail_fast=True)
    severity: Severity = Field(default="warning", description="The least that is heard.")
    quiet_from: Clock | None = Field(default=None, description="From here to `quiet_until` all but critical messages wait.")
    quiet_until: Clock | None = None
    time_zone: str = Field(default="UTC", min_length=1, max_length=100)
    level: int = Field(
        default=0,
        ge=0,
        le=10,
        description="0 hears at once; 1, 2, … when nobody acknowledged a critical alert.",
    )


class RetryBody(Body):
    model_config = example(password="the file's own")  # noqa: S106
    password: str | None = Field(default=None, max_length=1000, repr=False)


class KeyBody(Body):
    model_config = example(label="my laptop", scopes=["read", "write"], days=90)
    label: str = Field(min_length=1, max_length=NAME_CHARS_MAX)
    scopes: list[Scope] = Field(default=["read", "write"], min_length=1, max_length=3, fail_fast=True)
    project: IdOrName | None = None
    days: FiniteFloat | None = Field(default=None, gt=0, le=36_500)
