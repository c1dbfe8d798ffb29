"""Everything that Perenne raises on purpose. Every error survives a pickle: arguments are positional."""


class PerenneError(Exception):
    """The root. `code` is stable and travels in the HTTP error envelope."""

    code = "error"


class NotFound(PerenneError):
    """There is no such thing, or it is not the caller's to see."""

    code = "not_found"

    def __init__(self, kind: str, id: str) -> None:
        super().__init__(kind, id)
        self.kind, self.id = kind, id

    def __str__(self) -> str:
        return f"no {self.kind} {self.id!r}"


class InvalidRequest(PerenneError):
    """The request can never succeed as it stands; `field` names the offending part, if one does."""

    code = "invalid_request"

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message, field)
        self.message, self.field = message, field

    def __str__(self) -> str:
        return self.message


class Conflict(PerenneError):
    """The request clashes with what is stored, such as a name that is taken."""

    code = "conflict"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message


class CommandReused(Conflict):
    """A command id came again with another body."""

    code = "command_reused"

    def __init__(self, command_id: str) -> None:
        PerenneError.__init__(self, command_id)
        self.command_id = command_id
        self.message = f"command {command_id!r} was already sent with another body; use a fresh id"


class LeaseLost(Conflict):
    """The job is no longer held by this worker: somebody else has it, or it was cancelled."""

    code = "lease_lost"

    def __init__(self, job_id: str) -> None:
        PerenneError.__init__(self, job_id)
        self.job_id = job_id
        self.message = f"the lease on job {job_id!r} is lost"


class Unauthorized(PerenneError):
    """No key, or one that is unknown, expired or revoked."""

    code = "unauthorized"

    def __init__(self, message: str = "a valid key is needed: send 'Authorization: Bearer KEY'") -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message


class Forbidden(PerenneError):
    """The key is good but its scope does not reach this."""

    code = "forbidden"

    def __init__(self, needed: str) -> None:
        super().__init__(needed)
        self.needed = needed

    def __str__(self) -> str:
        return f"this key lacks the scope {self.needed!r}"


class TooLarge(PerenneError):
    """The body or an item in it is over its bound."""

    code = "too_large"

    def __init__(self, what: str, size: int, limit: int) -> None:
        super().__init__(what, size, limit)
        self.what, self.size, self.limit = what, size, limit

    def __str__(self) -> str:
        return f"{self.what} is {self.size} long; the limit is {self.limit}"


class QuotaExceeded(TooLarge):
    """The caller holds as much as one user may; nothing was taken."""

    code = "quota_exceeded"

    def __str__(self) -> str:
        return f"that would be {self.size} {self.what}; the limit is {self.limit}: finish or drop one first"


class ChecksumMismatch(PerenneError):
    """What came is not what its sender reckoned the checksum of; it was not kept."""

    code = "checksum_mismatch"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message


class Busy(PerenneError):
    """A bounded queue is full; nothing was taken. The same request may succeed after `retry_after_s`."""

    code = "busy"

    def __init__(self, what: str, retry_after_s: float) -> None:
        super().__init__(what, retry_after_s)
        self.what, self.retry_after_s = what, retry_after_s

    def __str__(self) -> str:
        return f"{self.what} is busy; retry in {self.retry_after_s:g} s"


class RateLimited(Busy):
    """The caller sends faster than its key allows."""

    code = "rate_limited"


class Unavailable(PerenneError):
    """An owner of state is away (restarting, held or degraded). A write may have happened: send the same id again."""

    code = "unavailable"

    def __init__(self, what: str, retry_after_s: float = 1.0, reason: str = "") -> None:
        super().__init__(what, retry_after_s, reason)
        self.what, self.retry_after_s, self.reason = what, retry_after_s, reason

    def __str__(self) -> str:
        why = f" ({self.reason})" if self.reason else ""
        return f"{self.what} is unavailable{why}; retry in {self.retry_after_s:g} s"


class ModelNotReady(Unavailable):
    """The model is missing, on its way or loading; `progress` is 0 to 1 where it is known."""

    code = "model_not_ready"

    def __init__(self, what: str, state: str, progress: float | None = None, retry_after_s: float = 5.0) -> None:
        PerenneError.__init__(self, what, state, progress, retry_after_s)
        self.what, self.state, self.progress, self.retry_after_s = what, state, progress, retry_after_s
        share = "" if progress is None else f" {progress:.0%}"
        self.reason = f"{state}{share}"


class WeightsUnavailable(Unavailable):
    """No source gave a model's files as the catalogue knows them; `reason` holds what each one answered."""

    code = "weights_unavailable"

    def __init__(self, model_id: str, reason: str) -> None:
        PerenneError.__init__(self, model_id, reason)
        self.what, self.retry_after_s, self.reason = model_id, 60.0, reason

    def __str__(self) -> str:
        return f"the weights of {self.what!r} could not be had: {self.reason}"


class DeadlineExceeded(PerenneError):
    """No answer in time. A write may have happened: send the same id again."""

    code = "deadline_exceeded"

    def __init__(self, what: str, timeout_s: float) -> None:
        super().__init__(what, timeout_s)
        self.what, self.timeout_s = what, timeout_s

    def __str__(self) -> str:
        return f"{self.what} did not answer within {self.timeout_s:g} s"


class StorageFailed(PerenneError):
    """The disk is full or failed; nothing of the command was kept."""

    code = "storage_failed"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"storage failed: {self.reason}"


class BackupDamaged(PerenneError):
    """Something in a backup repository is missing or is not what was written there; nothing of it was believed."""

    code = "backup_damaged"

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(what, reason)
        self.what, self.reason = what, reason

    def __str__(self) -> str:
        return f"the backup is damaged: {self.what}: {self.reason}"


class WrongPassphrase(PerenneError):
    """A backup repository was opened with another passphrase than its own, without one, or with one too many."""

    code = "wrong_passphrase"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message


class EngineFailed(PerenneError):
    """An engine raised while it worked; the model stays up."""

    code = "engine_failed"

    def __init__(self, engine: str, reason: str) -> None:
        super().__init__(engine, reason)
        self.engine, self.reason = engine, reason

    def __str__(self) -> str:
        return f"the engine {self.engine!r} failed: {self.reason}"


class ConfigurationError(PerenneError):
    """A setting is wrong; says which, what was expected and what came."""

    code = "configuration"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message
