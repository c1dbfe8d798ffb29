"""Routes of jobs."""

from starlette.responses import Response

from perenne.messages.commands import CancelJob, RetryJob
from perenne.messages.records import JobState
from serve.answers import json_answer
from serve.asking import After, Limit, ProjectQuery, Reading, Writing
from serve.bodies import RetryBody
from serve.views import job_view, jobs_view


async def list_jobs(
    ask: Reading, project: ProjectQuery = None, state: JobState | None = None, limit: Limit = 100, after: After = None
) -> Response:
    """Jobs, newest first."""
    project_id = await ask.caller.project_id(ask.store, project)
    states = None if state is None else (state,)
    page = await ask.store.read("jobs", user_id=ask.user_id, project_id=project_id, states=states, limit=limit, after=after)
    return json_answer(jobs_view(page))


async def get_job(ask: Reading, job_id: str) -> Response:
    """One job: how far it is, or how it ended and why."""
    return json_answer(job_view(await ask.caller.job(ask.store, job_id)))


async def cancel_job(ask: Writing, job_id: str) -> Response:
    """Cancel a job that has not ended."""
    if ask.caller.key.project_id is not None:
        await ask.caller.job(ask.store, job_id)
    job = await ask.store.write(CancelJob(command_id=ask.command_id, user_id=ask.user_id, job_id=job_id))
    ask.edge.wake_ingest()
    return json_answer(job_view(job))


async def retry_job(ask: Writing, job_id: str, body: RetryBody | None = None) -> Response:
    """Queue a refused, failed or cancelled job again, with a password if the file needs one."""
    if ask.caller.key.project_id is not None:
        await ask.caller.job(ask.store, job_id)
    if body is not None and body.password:
        await ask.caller.job(ask.store, job_id)
        await ask.edge.keep_password(job_id, body.password)
    job = await ask.store.write(RetryJob(command_id=ask.command_id, user_id=ask.user_id, job_id=job_id))
    ask.edge.wake_ingest()
    return json_answer(job_view(job))
