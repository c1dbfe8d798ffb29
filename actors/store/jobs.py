"""Commands about durable work: leased, renewed, given back, ended."""

from typing import Any

from sqlalchemy import Connection, and_, bindparam, insert, or_, select, update

from actors.store.erasure import withdraw_passages
from actors.store.prepared import Prepared
from actors.store.rows import encode, job_of
from actors.store.tables import documents, jobs, projects
from actors.store.work import Work, owned
from perenne.errors import Conflict, InvalidRequest, LeaseLost, NotFound
from perenne.messages.commands import SYSTEM_USER, CancelJob, Command, FinishJob, LeaseJobs, ReleaseJob, RenewJob, RetryJob
from perenne.messages.records import Job

LEASE_S_MAX = 3_600.0  # also of the delay of one that was given back
_ENDED = ("failed", "refused", "cancelled")
_NOBODYS: dict[str, Any] = {"lease_token": None, "lease_until": None, "worker": None}

_JOB = Prepared(select(jobs).where(jobs.c.id == bindparam("id_")), "id_")
_INSERT = insert(jobs)
# A time further away than any that is given was given by a clock that went ahead and was set back: it holds nobody up.
_FREE = or_(
    and_(jobs.c.state == "queued", or_(jobs.c.not_before <= bindparam("now_"), jobs.c.not_before > bindparam("beyond_"))),
    and_(jobs.c.state == "running", or_(jobs.c.lease_until < bindparam("now_"), jobs.c.lease_until > bindparam("beyond_"))),
)
_OWN = and_(jobs.c.state == "running", jobs.c.worker == bindparam("worker_"))
_OLDEST = (jobs.c.created_at, jobs.c.id)
_LEASABLE = select(jobs).where(_FREE).order_by(*_OLDEST).limit(bindparam("limit_"))
_LEASABLE_OR_OWN = select(jobs).where(or_(_FREE, _OWN)).order_by(*_OLDEST).limit(bindparam("limit_"))
_LEASE = (
    update(jobs)
    .where(jobs.c.id == bindparam("id_"))
    .values(
        state="running",
        attempts=jobs.c.attempts + 1,
        worker=bindparam("worker_"),
        lease_token=bindparam("token_"),
        lease_until=bindparam("until_"),
        reason=None,
        code=None,
        details=None,
        updated_at=bindparam("now_"),
    )
)
_PROGRESS = (
    update(jobs)
    .where(jobs.c.id == bindparam("id_"))
    .values(
        done=bindparam("done_"),
        total=bindparam("total_"),
        unit=bindparam("unit_"),
        lease_until=bindparam("until_"),
        updated_at=bindparam("now_"),
    )
)
_CHECKPOINT = (
    update(jobs)
    .where(jobs.c.id == bindparam("id_"))
    .values(checkpoint=bindparam("checkpoint_"), open_document_id=bindparam("open_"))
)
_FINISH = (
    update(jobs)
    .where(jobs.c.id == bindparam("id_"))
    .values(
        state=bindparam("state_"),
        reason=bindparam("reason_"),
        code=bindparam("code_"),
        details=bindparam("details_"),
        result=bindparam("result_"),
        updated_at=bindparam("now_"),
        **_NOBODYS,
    )
)
_RELEASE = (
    update(jobs)
    .where(jobs.c.id == bindparam("id_"))
    .values(
        state="queued",
        reason=bindparam("reason_"),
        code=bindparam("code_"),
        details=None,
        not_before=bindparam("at_"),
        updated_at=bindparam("now_"),
        **_NOBODYS,
    )
)
_RETRY = (
    update(jobs)
    .where(jobs.c.id == bindparam("id_"))
    .values(
        state="queued",
        reason=None,
        code=None,
        details=None,
        result="{}",
        not_before=0.0,
        updated_at=bindparam("now_"),
    )
)
_PROJECT = select(projects.c.id).where(projects.c.id == bindparam("id_"))
_DOCUMENT = select(documents.c.state, documents.c.blob_hash).where(documents.c.id == bindparam("id_"))
_SET_DOCUMENT = (
    update(documents)
    .where(documents.c.id == bindparam("id_"))
    .values(
        state=bindparam("state_"),
        reason=bindparam("reason_"),
        code=bindparam("code_"),
        details=bindparam("details_"),
        updated_at=bindparam("now_"),
    )
)
_LEAVE_DOCUMENT = update(jobs).where(jobs.c.id == bindparam("id_")).values(open_document_id=None)
_NO_REASON: dict[str, Any] = {"reason_": None, "code_": None, "details_": None}
_CANCELLED: dict[str, Any] = {"reason_": "cancelled", "code_": "cancelled", "details_": None}


def job_row(conn: Connection, job_id: str) -> Any:
    return _JOB.first(conn, job_id)


def queue_job(work: Work, fields: dict[str, Any]) -> Job:
    row = {
        "state": "queued",
        "attempts": 0,
        "done": 0,
        "not_before": 0.0,
        "result": "{}",
        "created_at": work.now,
        "updated_at": work.now,
    }
    work.conn.execute(_INSERT, row | fields)
    work.change("job", fields["id"], "insert")
    return job_of(job_row(work.conn, fields["id"]))


def document_in_hand(row: Any) -> str | None:
    """The document that a job is at: its only one, or of lines the one that is stored in part."""
    return row.document_id if row.document_id is not None else row.open_document_id


def set_document(work: Work, document_id: str | None, state: str, why: dict[str, Any]) -> None:
    """The state of a job's document follows the job."""
    if document_id is None:
        return
    done = work.conn.execute(_SET_DOCUMENT, {"id_": document_id, "state_": state, "now_": work.now} | why)
    if done.rowcount:
        work.change("document", document_id, "update")


def held(work: Work, command: Command, job_id: str, lease_token: str) -> Any:
    """The job's row if this lease still holds it. Past its time it does, as long as nobody else took the job."""
    row = owned(job_row(work.conn, job_id), command, "job", job_id)
    work.owner = row.user_id
    if row.state != "running" or row.lease_token != lease_token:
        raise LeaseLost(job_id)
    return row


def lease_end(work: Work, lease_s: float) -> float:
    if not 0 < lease_s <= LEASE_S_MAX:
        raise InvalidRequest(f"lease_s is {lease_s:g}; expected more than 0 and at most {LEASE_S_MAX:g}", "lease_s")
    return work.now + lease_s


def lease_jobs(work: Work, command: LeaseJobs) -> tuple[Job, ...]:
    if command.user_id != SYSTEM_USER:
        raise InvalidRequest("only the system leases jobs", "user_id")
    until = lease_end(work, command.lease_s)
    wanted = _LEASABLE_OR_OWN if command.take_back else _LEASABLE
    bound: dict[str, Any] = {"now_": work.now, "beyond_": work.now + LEASE_S_MAX, "limit_": max(0, command.limit)}
    if command.take_back:
        bound["worker_"] = command.worker
    leased: list[Job] = []
    for row in work.conn.execute(wanted, bound).all():
        token = {"id_": row.id, "worker_": command.worker, "token_": work.new_token(), "until_": until, "now_": work.now}
        work.conn.execute(_LEASE, token)
        work.owner = row.user_id
        work.change("job", row.id, "update")
        leased.append(job_of(job_row(work.conn, row.id), for_holder=True))
    return tuple(leased)


def record_progress(work: Work, job_id: str, lease_s: float, done: int, total: int | None, unit: str) -> None:
    work.conn.execute(
        _PROGRESS,
        {
            "id_": job_id,
            "done_": done,
            "total_": total,
            "unit_": unit,
            "until_": lease_end(work, lease_s),
            "now_": work.now,
        },
    )


def set_checkpoint(work: Work, job_id: str, checkpoint: str | None, open_document_id: str | None) -> None:
    work.conn.execute(_CHECKPOINT, {"id_": job_id, "checkpoint_": checkpoint, "open_": open_document_id})


def renew_job(work: Work, command: RenewJob) -> Job:
    held(work, command, command.job_id, command.lease_token)
    record_progress(work, command.job_id, command.lease_s, command.done, command.total, command.unit)
    return job_of(job_row(work.conn, command.job_id), for_holder=True)


def finish_job(work: Work, command: FinishJob) -> Job:
    row = held(work, command, command.job_id, command.lease_token)
    if command.state not in ("done", "refused", "failed"):
        raise InvalidRequest(f"a job ends done, refused or failed, not {command.state!r}", "state")
    if command.state != "done" and not command.reason:
        raise InvalidRequest(f"a job that ends {command.state} needs a reason", "reason")
    why = _NO_REASON
    if command.state != "done":
        details = encode(command.details) if command.details else None
        why = {"reason_": command.reason, "code_": command.code, "details_": details}
    end: dict[str, Any] = {"id_": row.id, "state_": command.state, "result_": encode(command.result), "now_": work.now}
    work.conn.execute(_FINISH, end | why)
    work.change("job", row.id, "update")
    set_document(work, document_in_hand(row), "indexed" if command.state == "done" else command.state, why)
    return job_of(job_row(work.conn, row.id))


def release_job(work: Work, command: ReleaseJob) -> Job:
    held(work, command, command.job_id, command.lease_token)
    at = work.now + min(max(0.0, command.delay_s), LEASE_S_MAX)
    why = {"reason_": command.reason, "code_": command.code}
    work.conn.execute(_RELEASE, {"id_": command.job_id, "at_": at, "now_": work.now} | why)
    work.change("job", command.job_id, "update")
    return job_of(job_row(work.conn, command.job_id))


def cancel_job(work: Work, command: CancelJob) -> Job:
    """What it stored of its document is taken out of search; tried again, it begins that one anew. A job that ended stays as it
    ended."""
    row = owned(job_row(work.conn, command.job_id), command, "job", command.job_id)
    work.owner = row.user_id
    if row.state in ("queued", "running"):
        end: dict[str, Any] = {"id_": row.id, "state_": "cancelled", "result_": row.result, "now_": work.now}
        work.conn.execute(_FINISH, end | _CANCELLED)
        work.conn.execute(_LEAVE_DOCUMENT, {"id_": row.id})
        work.change("job", row.id, "update")
        document_id = document_in_hand(row)
        if document_id is not None and row.checkpoint is not None:
            withdraw_passages(work, document_id)
        set_document(work, document_id, "failed", _CANCELLED)
    return job_of(job_row(work.conn, command.job_id))


def retry_job(work: Work, command: RetryJob) -> Job:
    row = owned(job_row(work.conn, command.job_id), command, "job", command.job_id)
    work.owner = row.user_id
    if row.state not in _ENDED:
        raise Conflict(f"the job is {row.state}; only a failed, refused or cancelled one is tried again")
    if row.document_id is not None:
        found = work.conn.execute(_DOCUMENT, {"id_": row.document_id}).first()
        if found is None:
            raise NotFound("document", row.document_id)
        if found.blob_hash != row.blob_hash or found.state not in ("failed", "refused"):
            raise Conflict("the document was replaced or indexed since")
    elif work.conn.execute(_PROJECT, {"id_": row.project_id}).first() is None:
        raise NotFound("project", row.project_id)
    work.conn.execute(_RETRY, {"id_": row.id, "now_": work.now})
    work.change("job", row.id, "update")
    set_document(work, document_in_hand(row), "queued", _NO_REASON)
    return job_of(job_row(work.conn, row.id))
