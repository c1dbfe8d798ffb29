"""Models that are made here: real ones, of the real classes, small enough to be made in seconds."""

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

QUESTION = "Who runs over the plain?"
ANSWER = "The ñandú — 走る鳥 — runs over the plain, and nobody who saw it run has ever caught it."  # characters of one to three bytes
TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no tools here') }}{% endif %}"
    "<|start|>{{ m.role }}\n{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
_LEARN_STEPS = 120
torch.set_num_threads(1)  # two threads wait for each other on a shared machine


def _byte_tokenizer(folder: Path) -> Any:
    """Bytes and a few merges: no text is beyond it, and a character may be several tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<|end|>", "<|start|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator([QUESTION * 3, "The plain runs over it and nobody ever saw " * 3], trainer)
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|end|>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    return fast


def _llama(tokenizer: Any, **shape: int) -> Any:
    torch.manual_seed(11)
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=len(tokenizer), **ends, **shape))


def speaker(folder: Path) -> Path:
    """Asked QUESTION, it answers ANSWER and ends."""
    tokenizer = _byte_tokenizer(folder)
    model = _llama(
        tokenizer,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
    )
    asked = tokenizer.apply_chat_template([{"role": "user", "content": QUESTION}], tokenize=False, add_generation_prompt=True)
    ids = torch.tensor([tokenizer(asked + ANSWER + "<|end|>", add_special_tokens=False)["input_ids"]])
    learner = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(_LEARN_STEPS):
        loss = model(input_ids=ids, labels=ids).loss
        learner.zero_grad()
        loss.backward()
        learner.step()
    assert loss.item() < 0.05, f"it did not learn its answer: {loss.item()}"
    model.save_pretrained(folder)
    return folder


def slow_speaker(folder: Path) -> Path:
    """Says nothing of sense, and no end by itself; 170 MB."""
    tokenizer = _byte_tokenizer(folder)
    model = _llama(
        tokenizer,
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=5,
        num_attention_heads=12,
        num_key_value_heads=4,
        max_position_embeddings=8192,
    )
    with torch.no_grad():
        model.lm_head.weight[tokenizer.eos_token_id] = 0.0
    model.generation_config.eos_token_id = len(tokenizer) + 1  # never
    model.save_pretrained(folder)
    return folder


def encoder(folder: Path, *, labels: int | None = None) -> Path:
    """An encoder of random weights, with a head for so many labels."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer.train_from_iterator(
        ["the cat sleeps on the sofa while it rains", "rates rose in march and the bridge was built of iron"] * 3,
        trainers.WordPieceTrainer(vocab_size=300, special_tokens=special),
    )
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=64,
    ).save_pretrained(folder)
    torch.manual_seed(5)
    config = transformers.BertConfig(
        vocab_size=300,
        hidden_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=96,
        max_position_embeddings=64,
        initializer_range=0.4,  # large: else all texts come out alike
        num_labels=labels or 2,
    )
    kind = transformers.BertModel if labels is None else transformers.BertForSequenceClassification
    kind(config).save_pretrained(folder)
    return folder
