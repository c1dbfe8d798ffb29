"""`perenne keys`."""

import time
from typing import Annotated

import typer

from perenne.cli.completing import key_ids
from perenne.cli.console import Json, ProjectName, connected, emit, plain, run, say
from perenne.messages.records import Scope

app = typer.Typer(help="List, make and revoke access keys.", no_args_is_help=True)


@app.command("list")
def list_keys(as_json: Json = False) -> None:
    """Your keys, without their secrets."""

    async def work() -> None:
        async with connected() as client:
            for key in await client.keys():
                if as_json:
                    emit(key)
                    continue
                expired = key.expires_at is not None and key.expires_at < time.time()
                state = "revoked" if key.revoked_at else "expired" if expired else "good"
                say(f"{key.id}  {state:8} {','.join(key.scopes):18} {key.label}")

    run(work())


@app.command()
def create(
    label: Annotated[str, typer.Argument(help="What it is for.")],
    scope: Annotated[list[str] | None, typer.Option(help="read, write or admin; may be given again.")] = None,
    project: ProjectName = None,
    days: Annotated[float | None, typer.Option(help="Until it expires.")] = None,
    as_json: Json = False,
) -> None:
    """Make a key. Its secret is shown this once."""
    known: dict[str, Scope] = {"read": "read", "write": "write", "admin": "admin"}
    wanted: list[Scope] = [known[name] for name in (scope or ("read", "write")) if name in known]
    if unknown := set(scope or ()) - set(known):
        raise typer.BadParameter(f"expected {', '.join(known)}, got {', '.join(sorted(unknown))}")

    async def work() -> None:
        async with connected() as client:
            key, secret = await client.create_key(label, wanted, project=project, days=days)
        if as_json:
            emit({**plain(key), "secret": secret})
        else:
            say(secret)

    run(work())


@app.command()
def revoke(key_id: Annotated[str, typer.Argument(help="The key's id.", autocompletion=key_ids)], as_json: Json = False) -> None:
    """Revoke a key; it stops working within a second."""

    async def work() -> None:
        async with connected() as client:
            key = await client.revoke_key(key_id)
        if as_json:
            emit(key)

    run(work())
