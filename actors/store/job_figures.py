"""How jobs stand, of all users: for whoever watches over the instance."""

from sqlalchemy import Connection, bindparam, func, select

from actors.store.tables import jobs
from perenne.messages.alerts import JobFigures

_WAITING = select(func.count().label("many"), func.min(jobs.c.updated_at).label("moved")).where(
    jobs.c.state == "queued", jobs.c.not_before <= bindparam("now_")
)
_RUNNING = select(func.count().label("many"), func.min(jobs.c.updated_at).label("moved")).where(jobs.c.state == "running")
_LAST_ENDED = select(func.max(jobs.c.updated_at)).where(jobs.c.state == "done", jobs.c.updated_at > bindparam("since_"))
_FAILED = select(func.count()).where(jobs.c.state == "failed", jobs.c.updated_at > bindparam("since_"))
_REASON = (
    select(jobs.c.reason)
    .where(jobs.c.state == "failed", jobs.c.updated_at > bindparam("since_"))
    .order_by(jobs.c.updated_at.desc(), jobs.c.id)
    .limit(1)
)


def job_figures(conn: Connection, now: float, since: float) -> JobFigures:
    """Failures after `since` count. While jobs run, the one that moved longest ago says how long nothing moved; else the queue does."""
    running, waiting = conn.execute(_RUNNING).one(), conn.execute(_WAITING, {"now_": now}).one()
    failed = conn.execute(_FAILED, {"since_": since}).scalar_one()
    since_when = running.moved if running.many else waiting.moved
    if waiting.many and not running.many:  # between two jobs: the last that was done moved
        ended = conn.execute(_LAST_ENDED, {"since_": since}).scalar()
        since_when = max(since_when, ended or 0.0)
    return JobFigures(
        open=running.many + waiting.many,
        waiting_since=since_when,
        failed=failed,
        reason=conn.execute(_REASON, {"since_": since}).scalar() if failed else None,
    )
