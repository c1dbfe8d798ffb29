"""What is asked of a language model, in the terms of `transformers`: the prompt's tokens and the settings of `generate`."""

import copy
from typing import Any

from perenne.errors import InvalidRequest
from perenne.messages.models import GenerateRequest


def checked(request: GenerateRequest) -> None:
    """InvalidRequest for what this engine does not do: saying nothing and answering otherwise would be worse."""
    extra = request.extra
    unable = {
        "grammar": request.grammar is not None,
        "tools": bool(extra.get("tools")) and extra.get("tool_choice") != "none",
        "response_format": (extra.get("response_format") or {}).get("type", "text") != "text",
        "logprobs": bool(extra.get("logprobs")),
        "presence_penalty": bool(extra.get("presence_penalty")),
        "frequency_penalty": bool(extra.get("frequency_penalty")),
    }
    for field, asked in unable.items():
        if asked:
            raise InvalidRequest(f"{field}: the engine transformers does not have it; llama_cpp does", field)
    if request.prompt is None and not request.messages:
        raise InvalidRequest("messages: expected at least one, got none", "messages")


def prompt_of(request: GenerateRequest, tokenizer: Any) -> list[int]:
    """The tokens that the answer follows: the chat template's, and the answer's own beginning where it has one."""
    if request.prompt is not None:
        return tokenizer(request.prompt + request.prefix)["input_ids"]
    if not tokenizer.chat_template:
        raise InvalidRequest("messages: this model has no chat template; it goes on from a bare prompt only", "messages")
    messages = [{"role": message.role, "content": message.content, **message.more} for message in request.messages]
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    except (
        Exception
    ) as error:  # a template refuses in its own words, as TemplateError: roles that it does not know, or their order
        raise InvalidRequest(f"messages: the model's chat template refused them: {error}", "messages") from error
    return tokenizer(text + request.prefix, add_special_tokens=False)["input_ids"]


def settings_of(request: GenerateRequest, own: Any, tokens_max: int) -> Any:
    """A `GenerationConfig`: the model's own, and over it what was asked. Without a temperature it samples, at the model's own."""
    config = copy.deepcopy(own)
    config.update(max_new_tokens=tokens_max, max_length=None, min_length=0, num_beams=1, num_return_sequences=1, use_cache=True)
    config.update(return_dict_in_generate=False, do_sample=True)
    if config.pad_token_id is None:
        ended = config.eos_token_id
        config.pad_token_id = ended[0] if isinstance(ended, list) else ended
    if request.temperature == 0:
        config.update(do_sample=False, temperature=None, top_p=None, top_k=None, min_p=None, typical_p=None)
    elif request.temperature is not None:
        config.temperature = float(request.temperature)
    if config.do_sample:
        asked = {"top_p": request.top_p, "top_k": request.extra.get("top_k"), "min_p": request.extra.get("min_p")}
        config.update(**{name: value for name, value in asked.items() if value is not None})
    if request.extra.get("repeat_penalty"):
        config.repetition_penalty = float(request.extra["repeat_penalty"])
    if bias := request.extra.get("logit_bias"):
        config.sequence_bias = [[[int(token)], float(value)] for token, value in bias.items()]
    return config
