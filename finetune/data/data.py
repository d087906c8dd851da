"""The data of a recipe: files or a data set of the Hub, read, renamed, split and checked."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from finetune.data.augment import Change, augmented
from finetune.data.columns import check_column, text_columns
from finetune.data.encodings import check_encoding
from finetune.data.files import from_files, in_saved_folders, means_files
from finetune.data.hub import from_hub
from finetune.data.rows import Kinds, Rows
from finetune.data.splits import Splits, carved, limited, without_bad_rows

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Data:
    """The rows of a recipe, from files or from the Hub.

    Files: JSONL, JSON (a list of objects), CSV (with semicolons or tabs too), TSV, Parquet, Arrow,
    TXT (a file is one document, in the column `text`), CoNLL (a word a line and its tag in the last
    column, a blank line after a sentence: `tokens`, `tags`) and YAML conversations in ChatterBot's
    format (`source`, `target`, `category`). Files of text may be compressed by gzip, and may have
    another encoding than UTF-8. A folder that the datasets library wrote by `save_to_disk` is read
    too. If it has several splits, its train, validation and test are used, unless others are given.
    `package:NAME/path` is a path inside an installed package.
    """

    name: str | None = None
    """A data set on the Hub; train, validation and test then name its splits. None: files."""
    _: KW_ONLY
    config: str | None = None
    """A subset of the Hub's data set."""
    revision: str | None = None
    """A branch, tag or commit of the Hub's data set."""
    train: str = "train"
    """A split of the Hub's data set, or a file, a glob, or a folder of `save_to_disk`."""
    validation: str | None = None
    """Like train; None: carved from train."""
    test: str | None = None
    """Like train; None: carved from train if test_fraction is above 0."""
    # Not Mapping or dict: tyro makes one flag for each key of a default of those two types, and
    # `--data.columns THEIRS OURS` would be unknown in a recipe that renames something.
    columns: MutableMapping[str, str] = field(default_factory=dict)
    """Pairs of names: a column of the data, and what the task calls it."""
    encoding: str | None = None
    """The encoding of files that are not UTF-8, such as gb18030 or cp1252. None: told by a file's
    bytes where they leave no doubt, with a note; else the file is refused."""
    on_bad_row: Literal["error", "skip"] = "error"
    """What happens to rows with an empty or unfit value in a column that the task needs, and
    to lines of a file that are no rows. skip: they are left out of every split, counted, and the
    first are named."""
    group: str | None = None
    """Rows with the same value here never stand in two carved splits, e.g. the id of a document."""
    validation_fraction: float = 0.1
    """The share of train that becomes validation where none is given; 0: no validation."""
    test_fraction: float = 0.0
    """The share of train that becomes test where none is given."""
    limit: int | None = None
    """The most training rows, chosen by their hash: the same for every method and seed."""
    augment: Change | None = None
    """Adds changed copies of the training rows, which make an epoch longer. Words of the inputs are
    deleted, swapped or blanked out; mixed: one of these is drawn for each copy."""
    augment_copies: int = 1
    """The most changed copies of each row."""
    augment_rate: float = 0.1
    """The share of a text's words that a copy changes; at least one word."""
    language: str | None = None
    """The language of the texts, by its code (en, zh), for the model's card."""

    def overridden(self, **changes: Any) -> Data:
        """These data with fields changed by a user.

        Files as a new `train` are other data: the fields that described the old data (name, config,
        revision, validation, test, columns, encoding, group, language) get their defaults, unless
        they are changed too.
        """
        train = changes.get("train", self.train)
        if train != self.train and changes.get("name") is None and means_files(train):
            fresh: dict[str, Any] = {"name": None, "config": None, "revision": None}
            fresh |= {"validation": None, "test": None, "columns": {}, "group": None}
            fresh |= {"encoding": None, "language": None}
            changes = fresh | changes
        return replace(self, **changes)

    def load(
        self,
        inputs: Sequence[str] | None = None,
        columns: Mapping[str, Kinds] | None = None,
    ) -> Splits:
        """Every split, checked for all that needs no task.

        Args:
            inputs: the columns, after renaming, that make two rows the same question. Rows are
                carved and leaks are counted by them. None: every column of text.
            columns: the columns, after renaming, that each row must have, and their types. None:
                only whole lines can be bad rows.

        Raises:
            ValueError: in one line, what the user has to mend, and where.
        """
        self._check_settings()
        asked_for = {"train": self.train, "validation": self.validation, "test": self.test}
        sources = {split: source for split, source in asked_for.items() if source is not None}
        notes: list[str] = []
        needed = dict(columns or {})
        if self.name is None:
            sources = in_saved_folders(sources, notes)
        rows = self._rows(sources, needed, notes)
        if inputs is None:
            inputs = text_columns([split.dataset for split in rows.values()])
        group = None if self.group is None else self.columns.get(self.group, self.group)
        rows = without_bad_rows(rows, needed, notes, skip=self.on_bad_row == "skip")
        for split in rows:
            names, place = rows[split].dataset.column_names, f"{split} ({sources[split]})"
            for column in (*inputs, *needed):
                check_column(column, names, place, rename=True)
            if group is not None:
                check_column(group, names, f"{place}, asked for by data.group")

        shares = {"test": self.test_fraction, "validation": self.validation_fraction}
        shares = {split: share for split, share in shares.items() if share and split not in sources}
        if self.test_fraction and "test" in sources:
            notes.append(f"test: test_fraction={self.test_fraction:g} is not used, a test is given")
        carving = None
        if shares:
            parts, carving = carved(rows["train"], shares, inputs, group, notes)
            rows |= parts
        if self.limit is not None:
            rows["train"] = limited(rows["train"], self.limit, notes)
        return Splits.from_rows(
            rows,
            inputs=inputs,
            group=group,
            carving=carving,
            sources={split: sources.get(split, self.train) for split in rows},
            notes=notes,
        )

    def augmented(
        self, splits: Splits, inputs: Sequence[str], targets: Sequence[str], *, task: str, seed: int
    ) -> tuple[Dataset, tuple[str, ...]]:
        """The training rows with the changed copies that `augment` asks for, and notes on them.
        Nothing else changes: validation, test and baselines keep the rows of `splits`.

        `task`: its name, for the message.

        Raises:
            ValueError: an input is also a target, or holds no text.
        """
        if self.augment is None:
            return splits.train, ()
        if both := set(inputs) & set(targets):
            raise ValueError(
                f"data.augment {self.augment} changes what a model reads, and {task} learns the "
                f"same column, {', '.join(sorted(both))}: leave data.augment out"
            )
        rows, note = augmented(
            splits.train,
            inputs,
            self.augment,
            copies=self.augment_copies,
            rate=self.augment_rate,
            seed=seed,
        )
        return rows, (note,)

    def _rows(
        self, sources: Mapping[str, str], needed: Mapping[str, Kinds], notes: list[str]
    ) -> dict[str, Rows]:
        """The rows of each split that has a source, with their columns renamed."""
        if self.name is not None:
            rows = from_hub(self.name, self.config, self.revision, sources, notes)
        else:
            name_in_file = {ours: theirs for theirs, ours in self.columns.items()}
            kinds = {name_in_file.get(ours, ours): needed[ours] for ours in needed}
            rows = {
                split: from_files(source, notes, encoding=self.encoding, kinds=kinds)
                for split, source in sources.items()
            }
        return {
            split: replace(rows[split], dataset=self._rename(rows[split].dataset, source, notes))
            for split, source in sources.items()
        }

    def _check_settings(self) -> None:
        for name, value in (
            ("validation_fraction", self.validation_fraction),
            ("test_fraction", self.test_fraction),
            ("validation_fraction + test_fraction", self.validation_fraction + self.test_fraction),
        ):
            if not 0 <= value < 1:
                raise ValueError(f"data: {name} is {value:g}; it must be at least 0 and below 1")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"data: limit is {self.limit}; it must be at least 1, or None for all")
        if not 0 < self.augment_rate <= 1:
            raise ValueError(
                f"data: augment_rate is {self.augment_rate:g}; it must be above 0 and at most 1"
            )
        if self.augment_copies < 1:
            raise ValueError(
                f"data: augment_copies is {self.augment_copies}; it must be at least 1, and "
                "without augment there are none"
            )
        if self.augment is None and (self.augment_copies, self.augment_rate) != (1, 0.1):
            raise ValueError(
                "data: augment_copies and augment_rate need --data.augment delete, swap, blank or "
                "mixed"
            )
        if self.encoding is not None:
            if self.name is not None:
                raise ValueError("data: encoding is of files, and a data set of the Hub has none")
            check_encoding(self.encoding)
        if self.name is None and (self.config or self.revision):
            raise ValueError("data: config and revision belong to a data set on the Hub; give name")

    def _rename(self, dataset: Dataset, source: str, notes: list[str]) -> Dataset:
        if len(set(self.columns.values())) < len(self.columns):
            raise ValueError(f"data: columns gives one name to two columns: {dict(self.columns)}")
        for theirs in self.columns:
            check_column(theirs, dataset.column_names, f"{source}, asked for by data.columns")
        replaced = (set(self.columns.values()) & set(dataset.column_names)) - set(self.columns)
        for column in sorted(replaced):
            notes.append(f"{source}: its own column {column} is left out, data.columns replaces it")
        return dataset.remove_columns(sorted(replaced)).rename_columns(dict(self.columns))
