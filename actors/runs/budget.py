"""How much of what was found the model gets to read: what its measured speed allows within the wait a person accepts."""

from perenne.messages.models import ModelState

READ_S = 9.0  # reading the prompt may take this long
SPEED_UNKNOWN = 90.0  # tokens a second; a 1.5B model on two cores (measured), until this machine's figure is known
PROMPT_TOKENS_MIN = 450  # below this no passage fits whole
PROMPT_TOKENS_MAX = 3_000  # more passages than this no longer help a small model
ANSWER_TOKENS = 320  # default length of an answer
CHARS_PER_TOKEN = 3.2  # of Spanish prose with Qwen's vocabulary; English has more
_MARGIN = 64  # tokens that a chat template may add


def prompt_tokens(state: ModelState | None, answer_tokens: int) -> int:
    """Tokens of prompt that fit the time and the context of the model in use."""
    speed = (state.prompt_tokens_per_s if state else None) or SPEED_UNKNOWN
    context = (state.context_tokens if state else None) or 4096
    wanted = max(PROMPT_TOKENS_MIN, min(PROMPT_TOKENS_MAX, int(speed * READ_S)))
    return max(128, min(wanted, context - answer_tokens - _MARGIN))


def tokens_of(text: str) -> int:
    """An estimate, on the high side."""
    return int(len(text) / CHARS_PER_TOKEN) + 4
