"""`perenne jobs`."""

from typing import Annotated

import typer

from perenne.cli.completing import job_ids
from perenne.cli.console import Json, ProjectName, connected, emit, run, say
from perenne.cli.password import AskPassword, PasswordStdin, password_of
from perenne.cli.reasons import reason_words
from perenne.messages.records import Job

app = typer.Typer(help="See, cancel and retry indexing.", no_args_is_help=True)

JobId = Annotated[str, typer.Argument(help="The job's id.", autocompletion=job_ids)]


def _tell(job: Job, as_json: bool) -> None:
    if as_json:
        emit(job)
        return
    share = f"{job.done}/{job.total} {job.unit}" if job.total else f"{job.done} {job.unit}"
    say(f"{job.id}  {job.state:9} {share:22} {job.filename or job.document_id or ''}  {reason_words(job)}")


@app.command("list")
def list_jobs(
    project: ProjectName = None, limit: Annotated[int, typer.Option(help="How many.")] = 50, as_json: Json = False
) -> None:
    """The newest jobs."""

    async def work() -> None:
        async with connected() as client:
            for job in (await client.jobs(project, limit=limit)).items:
                _tell(job, as_json)

    run(work())


@app.command()
def show(job_id: JobId, as_json: Json = False) -> None:
    """One job."""

    async def work() -> None:
        async with connected() as client:
            _tell(await client.job(job_id), as_json)

    run(work())


@app.command()
def cancel(job_id: JobId, as_json: Json = False) -> None:
    """Stop a job; what it stored of a document stays out of answers."""

    async def work() -> None:
        async with connected() as client:
            _tell(await client.cancel_job(job_id), as_json)

    run(work())


@app.command()
def retry(
    job_id: JobId,
    password: AskPassword = False,
    password_stdin: PasswordStdin = False,
    as_json: Json = False,
) -> None:
    """Queue a failed, refused or cancelled job again."""
    secret = password_of(password, password_stdin)

    async def work() -> None:
        async with connected() as client:
            _tell(await client.retry_job(job_id, password=secret), as_json)

    run(work())
