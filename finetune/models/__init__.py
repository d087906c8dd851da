"""What is trained: a pre-trained checkpoint, or an architecture with fresh weights."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from finetune.models.content import (
    file_content,
    hub_content,
    hub_file,
    model_content,
    tokenizer_content,
)
from finetune.models.sound import (
    check_finite,
    check_generation_config,
    check_loaded,
    without_report,
)
from finetune.reach import hub_answers
from finetune.shape import (
    HEADS,
    MULTI_LABEL,
    SINGLE_LABEL,
    STATE_NAMES,
    Head,
    Kind,
    names_of,
)

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

TINY = Path(__file__).parent.parent / "tiny"
BUNDLED = {"tiny-gpt2": TINY / "gpt2", "tiny-t5": TINY / "t5"}


@dataclass(frozen=True)
class Loaded:
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    fresh: frozenset[str] = frozenset()
    """Parameters the checkpoint did not hold (a new head): every method trains them."""


@dataclass(frozen=True)
class Pretrained:
    """A checkpoint: a Hub id, a folder, a GGUF file, or a bundled `tiny-gpt2`, `tiny-t5`."""

    name: str
    revision: str | None = None
    """A branch, tag or commit of the Hub repository."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of the weights in memory. float32 whatever the file holds: small steps vanish in bfloat16
    weights. For speed on a GPU set `--training.bf16` (autocast) and leave this alone."""
    attention: Literal["eager", "sdpa", "flash_attention_2"] | None = None
    """The attention kernel; none: what transformers chooses."""
    trust_remote_code: bool = False
    """Run the model's own code from its repository. Only for authors you trust."""
    dropout: float | None = None
    """In place of every dropout rate that the model's config has; none: as the checkpoint says. It
    acts in training only, and is saved in the config as any model's is."""

    @property
    def hub_id(self) -> str | None:
        """Its name on the Hub; none: it is bundled, a folder or a file."""
        path = Path(self.name).expanduser()
        local = self.name in BUNDLED or path.suffix == ".gguf" or path.is_dir()
        return None if local else self.name

    @property
    def base(self) -> str:
        """What an adapter names as its base: a Hub id, or where it lies, from anywhere."""
        if self.name in BUNDLED:
            return str(BUNDLED[self.name])
        return self.hub_id or str(Path(self.name).expanduser().absolute())

    def fingerprint(self) -> str:
        """What the model consists of: a hash of its files, or the commit of its Hub repository.

        Raises:
            ValueError: there is no such file or folder, or the Hub cannot be asked.
        """
        name, options = self._source()
        if "gguf_file" in options:
            return file_content(Path(name) / options["gguf_file"])
        if self.hub_id is None:
            return model_content(Path(name), code=self.trust_remote_code)
        commit = hub_content(name, self.revision, ("config.json",))
        if commit is None and "local_files_only" in options:
            raise ValueError(self._unreachable)
        if commit is None:
            raise ValueError(
                f"model {self.name!r}: the Hub has no such model, or no revision "
                f"{self.revision or 'main'!r} of it with a config.json"
            )
        return commit

    @property
    def _unreachable(self) -> str:
        return (
            f"model {self.name!r} is not in the local cache and the Hub cannot be reached; "
            "bundled and offline: tiny-gpt2, tiny-t5"
        )

    def load(self, texts: Iterable[str] = (), head: Head | None = None) -> Loaded:
        """The model and its tokenizer. `texts` is ignored: this model has a tokenizer.

        Args:
            head: the head that a task needs, new where the checkpoint has none. None: the head that
                the checkpoint was saved with.
        Raises:
            ValueError: the model cannot be loaded whole: files or weights are missing, of another
                shape or left over, or numbers are NaN.
        """
        from transformers import AutoConfig, AutoTokenizer, GgufConfig

        import finetune.models.lstm  # noqa: F401  # registers the architecture

        name, options = self._source()
        packed = "gguf_file" in options
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise ValueError(f"model.dropout is {self.dropout:g}; it must be at least 0, below 1")
        if not packed:
            self._check_generation_config(name)
        rates: tuple[str, ...] = ()
        try:
            config = AutoConfig.from_pretrained(name, **options)
            rates = () if self.dropout is None else dropout_rates(config)
            for rate in rates:
                setattr(config, rate, self.dropout)
            tokenizer = AutoTokenizer.from_pretrained(name, **options, **without_types(config))
            kind = stored_head(config) if head is None else head.kind
            if head is not None:
                _describe(config, head)
            with without_report():
                model, info = auto_class(config, kind).from_pretrained(
                    name,
                    **({} if head is None and not rates else {"config": config}),
                    ignore_mismatched_sizes=True,  # `check_loaded` names them
                    dtype=self.dtype,
                    attn_implementation=self.attention,
                    output_loading_info=True,
                    # Else it counts as quantized, which transformers neither trains nor saves.
                    quantization_config=GgufConfig(dequantize=True) if packed else None,
                    **options,
                )
        except Exception as error:  # what a broken file raises differs from format to format
            if "local_files_only" in options and isinstance(error, OSError):
                raise ValueError(self._unreachable) from error
            raise ValueError(f"model {self.name!r} cannot be loaded: {reason(error)}") from error
        if self.dropout is not None and not rates:
            raise ValueError(
                f"model.dropout {self.dropout:g}: the config of {self.name!r}, of type "
                f"{config.model_type}, has no dropout rate; leave it out"
            )
        try:
            fresh = check_loaded(model, info, head)
            check_finite(model.state_dict().items())
        except ValueError as error:
            raise ValueError(f"model {self.name!r} {error}") from error
        if packed:
            model.name_or_path = self.name  # an adapter finds the file by it, not by its folder
        # transformers makes up an empty tokenizer where the files of one are missing.
        size = model.get_input_embeddings().num_embeddings
        if not size / 2 < len(tokenizer) <= size:
            raise ValueError(
                f"model {self.name!r}: its tokenizer has {len(tokenizer)} tokens, it {size}: "
                "the tokenizer's files are missing, or another model's"
            )
        give_end_token(model, tokenizer)
        give_pad_token(model, tokenizer)
        read_last_token(model)
        return Loaded(model, tokenizer, fresh)

    def _check_generation_config(self, name: str) -> None:
        file: Path | None = Path(name) / "generation_config.json"
        if self.hub_id is not None:
            file = hub_file(name, "generation_config.json", self.revision)
        if file is not None and file.is_file():
            check_generation_config(file)

    def _source(self) -> tuple[str, dict[str, Any]]:
        options: dict[str, Any] = {
            "revision": self.revision,
            "trust_remote_code": self.trust_remote_code,
        }
        if self.name in BUNDLED:
            return str(BUNDLED[self.name]), options
        path = Path(self.name).expanduser()
        if path.suffix == ".gguf":
            if not path.is_file():
                raise ValueError(f"model {self.name!r}: no such file")
            return str(path.parent), options | {"gguf_file": path.name}
        if path.is_dir():
            return str(path), options
        if self.name.startswith((".", "/", "~")) or self.name.count("/") > 1:
            raise ValueError(f"model {self.name!r}: no such folder, and not a Hub id (owner/name)")
        if not hub_answers():
            options["local_files_only"] = True
        return self.name, options


@dataclass(frozen=True)
class Scratch:
    """An architecture with fresh weights: `Scratch("gpt2", {"n_layer": 4, "n_embd": 256})`."""

    architecture: str
    """Any `model_type` of transformers: gpt2, t5, llama, marian, bart ...; or ours: lstm."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the architecture's config; the rest keeps its default."""
    tokenizer: str | None = None
    """A folder, a Hub id or a bundled model; none: one is trained on the training split."""
    vocab_size: int = 8000
    """The size of a tokenizer that is trained here."""
    tokens: Literal["bytes", "words"] = "bytes"
    """Of a tokenizer that is trained here: byte-level BPE, or the words between white space and
    `<eos>` for a line's end, as word-level perplexities are published."""

    def fingerprint(self) -> str:
        """What the model starts from besides its config and seed: the content of its tokenizer.

        Raises:
            ValueError: the Hub cannot be asked, or has no such tokenizer.
        """
        if self.tokenizer is None:
            return ""
        folder = Path(BUNDLED.get(self.tokenizer, self.tokenizer))
        if folder.is_dir():
            return tokenizer_content(folder)
        names = ("tokenizer_config.json", "tokenizer.json", "config.json")
        commit = hub_content(self.tokenizer, None, names)
        if commit is None:
            raise ValueError(
                f"tokenizer {self.tokenizer!r} cannot be loaded: no such folder, and neither the "
                "local cache nor the Hub has it"
            )
        return commit

    def load(self, texts: Iterable[str] = (), head: Head = Head()) -> Loaded:  # noqa: B008
        """Fresh weights, drawn from torch's global random state."""
        from huggingface_hub.errors import StrictDataclassError
        from transformers import AutoConfig, AutoTokenizer

        import finetune.models.lstm  # noqa: F401  # registers the architecture
        from finetune.models.tokenizers import train_tokenizer, train_word_tokenizer

        try:
            default = AutoConfig.for_model(self.architecture)
        except ValueError as error:
            raise ValueError(
                f"architecture {self.architecture!r} is not one that transformers knows; "
                "use a model_type such as gpt2, llama, t5, bart, marian, or lstm"
            ) from error
        # Ours is one architecture for both; of the others each is one or the other.
        encoder_decoder = self.config.get("is_encoder_decoder", default.is_encoder_decoder)
        if self.tokenizer is not None and self.tokens != "bytes":
            raise ValueError(
                f"model.tokens {self.tokens} is of a tokenizer that is trained here, and "
                f"model.tokenizer names another, {self.tokenizer!r}: leave one out"
            )
        if self.tokenizer is None:
            tokenizer: PreTrainedTokenizerBase
            if self.tokens == "words":
                if encoder_decoder:
                    raise ValueError("model.tokens words is for causal models; use bytes")
                tokenizer = train_word_tokenizer(texts, self.vocab_size)
            else:
                kind: Literal["gpt2", "t5", "bert"] = "t5" if encoder_decoder else "gpt2"
                if head.kind != "text" and kind == "gpt2" and _reads_both_ways(default):
                    kind = "bert"
                tokenizer = train_tokenizer(texts, self.vocab_size, kind)
        else:
            name = str(BUNDLED.get(self.tokenizer, self.tokenizer))
            try:
                tokenizer = AutoTokenizer.from_pretrained(name, **without_types(default))
            except (OSError, ValueError) as error:
                raise ValueError(
                    f"tokenizer {self.tokenizer!r} cannot be loaded: {reason(error)}"
                ) from error
        pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        special: dict[str, Any] = {
            "vocab_size": len(tokenizer),
            "pad_token_id": pad,
            "eos_token_id": tokenizer.eos_token_id,
            "bos_token_id": tokenizer.bos_token_id,
        }
        if encoder_decoder:
            special |= {"decoder_start_token_id": pad, "bos_token_id": None}
            if "forced_eos_token_id" in default.to_dict():
                special["forced_eos_token_id"] = tokenizer.eos_token_id
        # transformers takes any name, and then leaves it unused.
        known = {*default.to_dict(), *default.attribute_map}
        if unknown := sorted(set(self.config) - known):
            near = get_close_matches(unknown[0], known, 1)
            raise ValueError(
                f"config of {self.architecture} has no {unknown[0]!r}"
                + (f"; did you mean {near[0]!r}?" if near else "")
            )
        try:
            config = AutoConfig.for_model(self.architecture, **(special | dict(self.config)))
            _describe(config, head)
            model = auto_class(config, head.kind).from_config(config)
        except (TypeError, ValueError, StrictDataclassError) as error:
            raise ValueError(f"architecture {self.architecture!r}: {reason(error)}") from error
        give_end_token(model, tokenizer)
        give_pad_token(model, tokenizer)
        read_last_token(model)
        return Loaded(model, tokenizer, frozenset(name for name, _ in model.named_parameters()))


def dropout_rates(config: PreTrainedConfig) -> tuple[str, ...]:
    """The config's fields that are rates of dropout, whatever the architecture calls them.

    Not among them: what drops weights or whole layers (weight_drop, layerdrop, drop_path), and a
    rate of None, which follows another.
    """
    return tuple(
        name
        for name, value in config.to_dict().items()
        if ("dropout" in name or name.endswith("pdrop"))
        and isinstance(value, int | float)
        and not isinstance(value, bool)
    )


def without_types(config: PreTrainedConfig) -> dict[str, Any]:
    """The tokenizer's option not to give token types, where the model has no embeddings for them.

    BERT's tokenizer gives them, and a GPT-2 that gets some adds the embeddings of the tokens with
    their numbers: a pipeline would say something else than what was trained here, without them.
    """
    if "type_vocab_size" in config.to_dict():
        return {}
    return {"model_input_names": ["input_ids", "attention_mask"]}


def auto_class(config: PreTrainedConfig, kind: Kind = "text") -> Any:
    """The Auto class of a model with this config and this kind of head; or our own, used alike.

    Raises:
        ValueError: the architecture has no such head.
    """
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForMaskedLM,
        AutoModelForPreTraining,
        AutoModelForSeq2SeqLM,
        AutoModelForSequenceClassification,
        AutoModelForTokenClassification,
    )

    if kind == "classes":
        return AutoModelForSequenceClassification
    if kind == "tags":
        return AutoModelForTokenClassification
    if kind == "masked":
        if config.is_encoder_decoder or not _reads_both_ways(config):
            raise ValueError(
                "MaskedLanguageModeling needs a model that reads both ways, such as bert, roberta, "
                f"albert, electra; {config.model_type} is none"
            )
        return AutoModelForMaskedLM
    if kind == "ordered":
        if config.model_type != "albert":
            raise ValueError(f"SentenceOrder needs an albert, and this is of {config.model_type}")
        return AutoModelForPreTraining
    if kind == "replaced":
        from finetune.models.electra import PairedElectraForPreTraining

        if config.model_type != "electra":
            raise ValueError(f"ReplacedTokens needs an electra, and this is of {config.model_type}")
        return PairedElectraForPreTraining
    return AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM


def stored_head(config: PreTrainedConfig) -> Kind:
    """What the checkpoint of this config puts out."""
    for architecture in config.architectures or ():
        for ending, kind in HEADS.items():
            if architecture.endswith(ending):
                return kind
    return "text"


def _describe(config: PreTrainedConfig, head: Head) -> None:
    """The classes by name, as pipelines show them; the choices of a model that writes one; how
    large a generator is to be.

    Raises: ValueError where a classifier has the same ones in another order: its weights would
        belong to the wrong names.
    """
    if head.generator_size is not None:
        config.generator_size = head.generator_size
    if not head.names:
        config.problem_type = None  # whatever a checkpoint was to choose from, this one is not
        return
    names = list(head.names)
    there = list(names_of(config))
    fitted = head.kind != "text" and stored_head(config) == head.kind
    if fitted and there != names and sorted(there) == sorted(names):
        raise ValueError(
            f"it has these classes in another order; set task.labels {' '.join(there)}"
        )
    config.id2label = dict(enumerate(names))
    config.label2id = {name: number for number, name in enumerate(names)}
    if head.kind != "tags":
        config.problem_type = MULTI_LABEL if head.multi_label else SINGLE_LABEL


def _reads_both_ways(config: PreTrainedConfig) -> bool:
    """Of an architecture without a decoder: it sees a whole text at once, as BERT does."""
    from transformers import MODEL_FOR_MASKED_LM_MAPPING

    return type(config) in MODEL_FOR_MASKED_LM_MAPPING


def read_last_token(model: PreTrainedModel) -> None:
    """Makes a causal model's classifier read the last real token of embeddings as well.

    It finds that of ids, by the pad token's; of embeddings, which is how a soft prompt comes, it
    takes the last position, padding or not. So here the real ones are moved to the end.
    """
    parameters = inspect.signature(model.forward).parameters
    causal = {"position_ids", "inputs_embeds"} <= set(parameters)
    causal = causal and not STATE_NAMES.isdisjoint(parameters)
    if not causal or not type(model).__name__.endswith("ForSequenceClassification"):
        return

    def move(module: Any, given: Any, named: dict[str, Any]) -> Any:
        embedded, mask = named.get("inputs_embeds"), named.get("attention_mask")
        if embedded is None or mask is None or mask.bool().all():
            return None
        order = mask.bool().int().argsort(dim=1, stable=True)  # padding first
        places = order[..., None].expand_as(embedded)
        mask = mask.gather(1, order)
        positions = (mask.cumsum(1) - 1).clamp(min=0).long()
        moved = {"inputs_embeds": embedded.gather(1, places), "attention_mask": mask}
        return given, named | moved | {"position_ids": positions}

    model.register_forward_pre_hook(move, with_kwargs=True)


def give_end_token(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """BERT's separator, where what writes a text or reads its end has no end-of-text token.

    As in the Chinese GPT-2s and T5s that were trained on BERT's tokens: whatever their configs say,
    their texts end in it.
    """
    needed = model.can_generate() or model.config.is_encoder_decoder
    if not needed or tokenizer.eos_token is not None or tokenizer.sep_token is None:
        return
    tokenizer.eos_token = tokenizer.sep_token
    model.config.eos_token_id = tokenizer.eos_token_id
    if model.can_generate():
        model.generation_config.eos_token_id = tokenizer.eos_token_id


def give_pad_token(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """End-of-text as pad token where there is none, in tokenizer, config and generation config."""
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token is None:
            raise ValueError(
                "the tokenizer has neither a pad token nor an end-of-text token: "
                "add one and save it with the model"
            )
        tokenizer.pad_token = tokenizer.eos_token
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    if model.can_generate() and model.generation_config.pad_token_id is None:
        model.generation_config.pad_token_id = model.config.pad_token_id


def reason(error: Exception) -> str:
    """The first line of what the library says."""
    if isinstance(error, KeyError):  # which says nothing but the key
        return f"it has no {error.args[0]}"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return " ".join(line.strip() for line in lines[:2])[:300]
