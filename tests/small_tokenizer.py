"""A byte-level BPE tokenizer trained in a blink, with whatever control tokens a test wants."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

_TEXT = (
    "You are a helpful assistant. Hello, who are you? I am an assistant and the answer is forty two.\n\n"
    "system\nuser\nassistant\ntool\nWhat is the weather in Paris today?  It is sunny in Paris.\n\n\n   Thinking about it\n"
)


def small_tokenizer(
    special: Sequence[str | AddedToken] = ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    *,
    plain: Sequence[str] = (),
    bos: str | None = None,
    eos: str | None = "<|endoftext|>",
    adds_bos: bool = False,
) -> PreTrainedTokenizerFast:
    """Args:
    special: Special tokens.
    plain: Added tokens that are not special (``<think>``).
    bos: The BOS token, one of `special`.
    eos: The EOS token, one of `special`.
    adds_bos: Whether the tokenizer puts BOS in front of text of its own accord.
    """
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator([_TEXT], trainer)
    backend.add_special_tokens(list(special))
    backend.add_tokens(list(plain))
    if adds_bos:
        assert bos is not None
        backend.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, backend.token_to_id(bos))]
        )
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token=bos, eos_token=eos)
