"""The names by which processes find each other, and the bounds they share."""

NAMESPACE = "perenne"  # the Ray namespace of every actor of ours

SUPERVISOR = "Supervisor"
STORE_WRITER = "StoreWriter"
RUN_HOST = "RunHost"
INGEST_HOST = "IngestHost"
NOTIFIER = "Notifier"
ALERT_CENTER = "AlertCenter"
BACKUP_KEEPER = "BackupKeeper"

# Models are Serve applications; a Directory reaches them by these names too.
LANGUAGE = "language"
EMBEDDING = "embedding"
RERANKING = "reranking"  # there only where it is configured
MODELS = (LANGUAGE, EMBEDDING, RERANKING)

# The program that makes a backup before a migration. A process of its own, for the owners of database and backups do not know each other.
BEFORE_MIGRATION = "cluster.before_migration"

EDGE = "edge"  # the Serve application that answers HTTP and WebSocket


def store_reader(number: int) -> str:
    """Name of the `number`th reader of the database, from 0."""
    return f"StoreReader-{number}"


def index_shard(space: str, number: int) -> str:
    """Name of the `number`th shard, from 0, of one vector space."""
    return f"IndexShard-{space}-{number}"


def blob_store(pc: str) -> str:
    """Name of the one owner of content-addressed files on a PC."""
    return f"BlobStore-{pc}"


# Bounds. Each is a promise to the other side of a call.
BLOB_PIECE_BYTES = 1 << 20  # one append to a blob in upload
SEARCH_K_MAX = 200  # hits a search may ask for
RERANK_TEXTS_MAX = 200  # passages that one call puts in order
QUERY_CHARS_MAX = 8_000  # characters of a search query
MESSAGE_CHARS_MAX = 200_000  # characters of a posted message
COMMANDS_PER_CALL_MAX = 256  # commands that one submit carries
COMMAND_ID_KEPT_S = 7 * 86_400.0  # how long a command id answers with its first result
HEARTBEAT_S = 1.0  # a follow yields at least this often
FOLLOW_LEASE_S = 30.0  # a follow ends after this and is asked again by sequence
FOLLOW_SILENCE_S = 3.0  # a reader gives a follow up after this much silence
DELIVERY_WAIT_S_MAX = 2 * 86_400.0  # until a message of an alert is due: quiet hours are the longest
