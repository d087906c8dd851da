"""Pre-training of encoders: masked tokens (BERT), sentence order, replaced tokens (ELECTRA).

In training, the masked tokens of a row are drawn anew in each epoch, from the seed, the epoch and
the number of the row alone. For scoring, they are drawn once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import regex  # type: ignore[import-untyped]  # ships no types

from finetune.objectives.examples import IGNORED, Encoded
from finetune.objectives.pretraining import Masked, Ordered, Replaced
from finetune.tasks.base import Splits
from finetune.tasks.encoded import unknown
from finetune.tasks.language_modeling import (
    SHORTEST,
    Documents,
    checked_block_size,
    tokenized,
    whole_text,
)
from finetune.tasks.snippets import pretrained

if TYPE_CHECKING:
    import numpy as np
    from datasets import Dataset
    from numpy.random import Generator
    from transformers import PreTrainedTokenizerBase

    from finetune.shape import Shape
    from finetune.tasks.snippets import Checkpoint

SENTENCE = regex.compile(r"\s*\S.*?(?:(?<=[.!?])(?=\s)|(?<=[。！？])|(?=\n)|\Z)", regex.DOTALL)
"""A sentence with the white space before it. All sentences together are the whole text."""


@dataclass(frozen=True)
class _Pretraining(Documents):
    block_size: int | None = None
    """The length of a block, in tokens, special tokens included. None: the longest text that the
    model reads, but at most 512."""
    share: float = 0.15
    """The share of tokens that is chosen to be predicted. Special tokens are never chosen. 0.15 is
    that of BERT."""

    least: ClassVar[str] = f"less than {SHORTEST} tokens"
    """A phrase for a note: the blocks that are left out."""

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError(f"task.share is {self.share:g}; it must be above 0 and below 1")

    def encode(
        self,
        split: Dataset,
        tokenizer: PreTrainedTokenizerBase,
        shape: Shape,
        names: Sequence[str] = (),
        *,
        training: bool,
    ) -> Encoded:
        import numpy as np
        from datasets import Dataset

        if tokenizer.mask_token_id is None:
            raise ValueError(
                f"{type(self).__name__} needs a tokenizer with a mask token, and this one has "
                "none: name another in model.tokenizer, or use a model like BERT"
            )
        size = checked_block_size(self.block_size, shape, default=512, least=2 * SHORTEST)
        rows, left_out = self._rows(split["text"], tokenizer, size)
        if not rows:
            raise ValueError("no tokens: the split's texts are empty or too short")
        special = set(tokenizer.all_special_ids)
        texts = split["text"]
        read: list[list[int]] = [[] for _ in texts]
        for row in rows:
            read[row["row"]] += row["input_ids"]
            row["labels"] = [IGNORED if id in special else id for id in row["input_ids"]]
        drawn = self._drawn(tokenizer)
        if training:  # a training row is a block, numbered by itself
            rows = [{**row, "row": number} for number, row in enumerate(rows)]
        else:
            rows = [drawn(row, np.random.default_rng((0, n))) for n, row in enumerate(rows)]
        note = f"{left_out} blocks of {self.least} left out"
        return Encoded(
            Dataset.from_list(rows),
            tuple(map(whole_text, split["text"])),
            (note,) if left_out else (),
            unknown(tokenizer, zip(texts, read, strict=True), "input tokens"),
            blocks=training,
            drawn=drawn if training else None,
        )

    def pipeline(self, checkpoint: Checkpoint) -> str:
        return "feature-extraction"

    @property
    def floors(self) -> str:
        return "token frequencies"

    def _rows(
        self, texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, size: int
    ) -> tuple[list[dict[str, Any]], int]:
        """The rows of all texts, in blocks of at most `size` tokens.

        Returns:
            The rows, whose `row` is the number of the text; and how many blocks were too short.
        """
        before, after = _around(tokenizer, "a")
        room = size - len(before) - len(after)
        rows, left_out = [], 0
        for number, ids in enumerate(tokenized(tokenizer, texts)):
            for start in range(0, len(ids), room):
                block = ids[start : start + room]
                if len(block) < SHORTEST:
                    left_out += 1
                else:
                    rows.append({"row": number, "input_ids": [*before, *block, *after]})
        return rows, left_out

    def _drawn(
        self, tokenizer: PreTrainedTokenizerBase
    ) -> Callable[[Mapping[str, Any], Generator], dict[str, Any]]:
        """The function that draws what the model reads of a row."""
        return Masking.of(tokenizer, self.share)


@dataclass(frozen=True)
class MaskedLanguageModeling(_Pretraining):
    """BERT's pre-training (Devlin et al. 2018, 3.1): learns to predict masked tokens.

    Of each block, 15 % of the tokens are chosen and predicted. In the input, 80 % of them are
    replaced by the mask token and 10 % by a random token; 10 % stay as they are. A block is from
    one document. Works with every model that has a masked-language-modeling head: BERT, RoBERTa,
    ALBERT, ELECTRA's generator ...
    """

    def objective(self, splits: Splits) -> Masked:
        return Masked()

    def pipeline(self, checkpoint: Checkpoint) -> str:
        return "fill-mask"

    def snippet(self, checkpoint: Checkpoint) -> str:
        answer = [
            'inputs = tokenizer(f"The {tokenizer.mask_token} of the city", return_tensors="pt")',
            'masked = inputs["input_ids"][0] == tokenizer.mask_token_id',
            "print(tokenizer.decode(model(**inputs).logits[0, masked].argmax(-1)))",
        ]
        return pretrained(checkpoint, "AutoModelForMaskedLM", answer)


@dataclass(frozen=True)
class SentenceOrder(_Pretraining):
    """ALBERT's pre-training (Lan et al. 2020, 3.1): learns sentence order and masked tokens.

    The two segments follow each other in one document. Half of the time they are swapped, and the
    model predicts whether they are. A block has whole sentences and is cut in two at the end of one
    of them; a sentence longer than half a block counts as several. Masked tokens come in runs of
    one to three, shorter ones more often (section 4.1). Needs an ALBERT.
    """

    least: ClassVar[str] = f"one sentence, or less than {SHORTEST} tokens"

    def objective(self, splits: Splits) -> Ordered:
        return Ordered()

    def snippet(self, checkpoint: Checkpoint) -> str:
        answer = [
            'texts = ("A first sentence.", "And the second.")',
            'inputs = tokenizer(*texts, return_token_type_ids=True, return_tensors="pt")',
            "in_order, swapped = model(**inputs).sop_logits[0].softmax(-1).tolist()",
            "print(in_order)",
        ]
        return pretrained(checkpoint, "AlbertForPreTraining", answer)

    @property
    def floors(self) -> str:
        return "token frequencies, and the more frequent order"

    @property
    def loss(self) -> str:
        return "The loss is that of masked tokens, in nats a token, plus that of the order."

    def _rows(
        self, texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, size: int
    ) -> tuple[list[dict[str, Any]], int]:
        before, between, after = _around(tokenizer, "a", "a")
        room = size - len(before) - len(between) - len(after)
        rows, left_out = [], 0
        for number, text in enumerate(texts):
            blocks: list[list[list[int]]] = [[]]
            half = room // 2  # the longest part of a sentence
            for sentence in tokenized(tokenizer, SENTENCE.findall(text)):
                for start in range(0, len(sentence), half):
                    part = sentence[start : start + half]
                    if sum(map(len, blocks[-1])) + len(part) > room:
                        blocks.append([])
                    blocks[-1].append(part)
            for block in blocks:
                ends = [sum(map(len, block[:count])) for count in range(1, len(block))]
                ids = [id for part in block for id in part]
                if len(ids) < SHORTEST or not ends:
                    left_out += bool(ids)
                else:
                    rows.append({"row": number, "input_ids": ids, "ends": ends})
        return rows, left_out

    def _drawn(
        self, tokenizer: PreTrainedTokenizerBase
    ) -> Callable[[Mapping[str, Any], Generator], dict[str, Any]]:
        masking = Masking.of(tokenizer, self.share, longest=3)
        return Swapping(masking, *_around(tokenizer, "a", "a"))


@dataclass(frozen=True)
class ReplacedTokens(_Pretraining):
    """ELECTRA's pre-training (Clark et al. 2020, section 2): learns which tokens were replaced.

    A small generator predicts masked tokens. Tokens sampled from it replace them, and the
    discriminator, which is the model, predicts for every token but special ones whether it was
    replaced. Both are trained at once. The loss is the generator's plus 50 times the
    discriminator's, each a mean over its tokens. They share token, position and type embeddings. A
    block is from one document. Needs an ELECTRA. The generator is saved in `model/generator`.
    """

    generator_size: float = 0.25
    """The width of the generator, of its feed-forward layers and its heads, as a share of the
    discriminator's. A checkpoint's generator must have this size. 1/4 to 1/2 was best in the
    paper."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.generator_size <= 1:
            raise ValueError(
                f"task.generator_size is {self.generator_size:g}; it must be above 0 and at most 1"
            )

    def objective(self, splits: Splits) -> Replaced:
        return Replaced(self.generator_size)

    def snippet(self, checkpoint: Checkpoint) -> str:
        answer = [
            'inputs = tokenizer("A text, some of which was replaced", return_tensors="pt")',
            "print(model(**inputs).logits.sigmoid())  # the probability that a token was replaced",
        ]
        return pretrained(checkpoint, "ElectraForPreTraining", answer)

    @property
    def loss(self) -> str:
        return (
            "The loss is that of masked tokens, in nats a token, plus 50 times that of replaced "
            "tokens."
        )

    def _drawn(
        self, tokenizer: PreTrainedTokenizerBase
    ) -> Callable[[Mapping[str, Any], Generator], dict[str, Any]]:
        return Sampling(Masking.of(tokenizer, self.share, masked=1.0, random=0.0))


@dataclass(frozen=True)
class Masking:
    """Chooses tokens of a row and masks them in the input. Only they keep their labels."""

    mask: int
    """The id of the mask token."""
    ordinary: np.ndarray
    """The tokens from which a random one is drawn: all but special tokens."""
    share: float
    """The share of tokens that is chosen."""
    masked: float
    """The share of the chosen tokens that become the mask token."""
    random: float
    """The share of the chosen tokens that become a random token."""
    longest: int
    """The longest run of tokens that are chosen together. A run of n tokens has the odds 1/n."""

    @classmethod
    def of(
        cls,
        tokenizer: PreTrainedTokenizerBase,
        share: float,
        *,
        masked: float = 0.8,
        random: float = 0.1,
        longest: int = 1,
    ) -> Masking:
        """The masking with the tokens of this tokenizer. The defaults are those of BERT."""
        import numpy as np

        ordinary = sorted({*tokenizer.get_vocab().values()} - {*tokenizer.all_special_ids})
        assert tokenizer.mask_token_id is not None
        return cls(tokenizer.mask_token_id, np.array(ordinary), share, masked, random, longest)

    def __call__(self, row: Mapping[str, Any], rng: Generator) -> dict[str, Any]:
        import numpy as np

        ids, tokens = np.array(row["input_ids"]), np.array(row["labels"])
        chosen = self._chosen(np.flatnonzero(tokens != IGNORED), rng)
        draws = rng.random(len(chosen))
        ids[chosen[draws < self.masked]] = self.mask
        changed = chosen[(draws >= self.masked) & (draws < self.masked + self.random)]
        ids[changed] = rng.choice(self.ordinary, len(changed))
        labels = np.full_like(tokens, IGNORED)
        labels[chosen] = tokens[chosen]
        return {**row, "input_ids": ids.tolist(), "labels": labels.tolist()}

    def _chosen(self, places: np.ndarray, rng: Generator) -> np.ndarray:
        """The chosen ones of these places: the share, but at least one, in runs."""
        import numpy as np

        count = min(max(1, round(self.share * len(places))), len(places))
        odds = 1 / np.arange(1, self.longest + 1)
        lengths = rng.choice(self.longest, len(places), p=odds / odds.sum()) + 1
        chosen = np.zeros(len(places), bool)
        for start, length in zip(rng.permutation(len(places)), lengths, strict=True):
            left = count - int(chosen.sum())
            if left == 0:
                break
            chosen[start : start + min(length, left)] = True
        return places[chosen]


@dataclass(frozen=True)
class Swapping:
    """Cuts a block in two segments at the end of a sentence, and swaps them half of the time."""

    masking: Masking
    before: list[int]
    """The special tokens before the first segment."""
    between: list[int]
    """The special tokens between the segments."""
    after: list[int]
    """The special tokens after the second segment."""

    def __call__(self, row: Mapping[str, Any], rng: Generator) -> dict[str, Any]:
        end = int(rng.choice(row["ends"]))
        swapped = int(rng.random() < 0.5)
        drawn: dict[str, Any] = {"row": row["row"], "order": [swapped]}
        for name, special in (
            ("input_ids", (self.before, self.between, self.after)),
            ("labels", [[IGNORED] * len(n) for n in (self.before, self.between, self.after)]),
        ):
            first, second = row[name][:end], row[name][end:]
            if swapped:
                first, second = second, first
            left = [*special[0], *first, *special[1]]
            right = [*second, *special[2]]
            drawn |= {name: left + right, "token_type_ids": [0] * len(left) + [1] * len(right)}
        return self.masking(drawn, rng)


@dataclass(frozen=True)
class Sampling:
    """Masks tokens, and draws a number from 0 to 1 for each.

    By that number a token is sampled from the generator's distribution, so that the sample does not
    depend on the other rows of the batch.
    """

    masking: Masking

    def __call__(self, row: Mapping[str, Any], rng: Generator) -> dict[str, Any]:
        masked = self.masking(row, rng)
        return masked | {"tokens": row["labels"], "draws": rng.random(len(row["labels"])).tolist()}


def _around(tokenizer: PreTrainedTokenizerBase, *texts: str) -> list[list[int]]:
    """The special tokens before, between and after as many texts as there are.

    Raises:
        ValueError: The tokenizer puts no special tokens there.
    """
    encoded = tokenizer(*texts, return_special_tokens_mask=True)
    parts: list[list[int]] = [[]]
    inside = False
    for id, special in zip(encoded["input_ids"], encoded["special_tokens_mask"], strict=True):
        if not special and not inside:
            parts.append([])
        if special:
            parts[-1].append(id)
        inside = not special
    if len(parts) <= len(texts):
        raise ValueError(
            "pre-training needs a tokenizer that puts special tokens around a text and between two "
            "texts, as BERT's and ALBERT's do; name such a tokenizer in model.tokenizer"
        )
    return parts
