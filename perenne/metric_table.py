"""Every metric of an instance: its name, kind, labels and meaning. docs/operations.md shows this table, and a test compares the two.

Names end in their unit (seconds, bytes), counters in `_total`. Every metric has the label `actor` besides: who told it."""

from perenne.metrics import Metric

# Upper bounds in seconds: of what should take milliseconds, and of what may take minutes.
_QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_SLOW = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


def _counter(name: str, words: str, *labels: str) -> Metric:
    return Metric(name, "counter", words, labels)


def _gauge(name: str, words: str, *labels: str) -> Metric:
    return Metric(name, "gauge", words, labels)


def _histogram(name: str, words: str, *labels: str, buckets: tuple[float, ...] = _QUICK) -> Metric:
    return Metric(name, "histogram", words, labels, buckets)


# The edge
REQUESTS = _counter("perenne_http_requests_total", "Requests by route, method and status", "route", "method", "status")
REQUEST_SECONDS = _histogram("perenne_http_request_seconds", "Until an answer begins", "route")
REQUESTS_OPEN = _gauge("perenne_http_requests_open", "Requests under way, streams among them")
SOCKETS_OPEN = _gauge("perenne_sockets_open", "WebSockets that are open")

# The database
COMMANDS = _counter("perenne_commands_total", "Commands by kind and end: done, refused or failed", "kind", "end")
WRITER_QUEUE = _gauge("perenne_writer_queue_commands", "Commands waiting or in hand")
WRITER_LOG = _gauge("perenne_writer_log_bytes", "Length of SQLite's write-ahead log")
BATCH = _histogram(
    "perenne_writer_batch_commands", "Commands in one transaction", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
)
COMMIT_SECONDS = _histogram("perenne_writer_commit_seconds", "One transaction, from its first command to the disk")
QUESTION_SECONDS = _histogram("perenne_question_seconds", "Questions to the database by kind, their wait included", "kind")
QUESTIONS_FAILED = _counter("perenne_questions_failed_total", "Questions that the database did not answer, by kind", "kind")

# Shards
SHARD_ROWS = _gauge("perenne_shard_rows", "Vectors that a search of this shard looks at")
SHARD_TAIL = _gauge("perenne_shard_tail_rows", "Vectors that wait in memory to be sealed")
SHARD_DEAD = _gauge("perenne_shard_dead_rows", "Vectors of what is deleted, until the next seal")
SHARD_LAG = _gauge("perenne_shard_lag_changes", "Changes of the database that this shard has not applied yet")
SHARD_SECONDS = _histogram("perenne_shard_search_seconds", "One search of a shard, its wait for the newest changes included")

# Runs
RUNS = _counter("perenne_runs_total", "Answers by end: done, failed or stopped", "end")
RUNS_OPEN = _gauge("perenne_runs_open", "Runs waiting or in hand")
RUN_SECONDS = _histogram(
    "perenne_run_stage_seconds",
    "From the question's arrival until the end of a stage: route, search, first_word, whole",
    "stage",
    buckets=_SLOW,
)
RUN_TOKENS = _counter("perenne_run_tokens_total", "Tokens that answers took: prompt, answer", "part")

# Ingest
JOBS = _counter("perenne_ingest_jobs_total", "Jobs by end: done, refused, failed or lost", "end")
JOBS_OPEN = _gauge("perenne_ingest_jobs_open", "Jobs in hand, and those seen waiting")
PASSAGES = _counter("perenne_ingest_passages_total", "Passages that were indexed")

# Models
MODEL_READY = _gauge("perenne_model_ready", "1 when the model is in memory, else 0", "role")
MODEL_QUEUE = _gauge("perenne_model_queue_requests", "Requests waiting or in hand", "role")
MODEL_PROMPT_SPEED = _gauge("perenne_model_prompt_tokens_per_second", "How fast the model reads, as last measured", "role")
MODEL_SPEED = _gauge("perenne_model_tokens_per_second", "How fast the model writes, as last measured", "role")

# The Supervisor
READY = _gauge("perenne_ready", "1 when all that answering needs is up, else 0")
CHILD_READY = _gauge("perenne_child_ready", "1 when the child is ready, else 0", "child")
CHILD_QUEUE = _gauge("perenne_child_queue", "What waits or is in hand at the child", "child")
CHILD_RESTARTS = _gauge("perenne_child_restarts", "Restarts that this Supervisor has seen", "child")
CHILD_BYTES = _gauge("perenne_child_pss_bytes", "Memory of the child, what it shares counted by shares", "child")
BACKUP_LOSS = _gauge(
    "perenne_backup_loss_seconds", "How many seconds of commits the backups' target would lack, were the home lost now"
)
SCHEDULE_AGE = _gauge("perenne_schedule_age_seconds", "Since a schedule, such as backup or drill, last ended well", "schedule")
SCHEDULE_OK = _gauge("perenne_schedule_ok", "1 when a schedule ended well the last time, else 0", "schedule")
DISK_FREE = _gauge("perenne_disk_free_bytes", "What is free where the home is")

ALL: tuple[Metric, ...] = tuple(value for value in tuple(globals().values()) if isinstance(value, Metric))
