"""The data of a recipe: files or a data set on the Hub, read, renamed, split and checked."""

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

    These formats of files are read:

    - JSONL, and JSON with a list of objects.
    - CSV with commas, semicolons or tabs, and TSV.
    - Parquet, and both formats of Arrow.
    - TXT: a file is one document, in the column `text`.
    - CoNLL: each line has a word and, in its last column, the word's tag; a blank line ends a
      sentence. The columns are `tokens` and `tags`.
    - YAML conversations in ChatterBot's format. The columns are `source`, `target` and `category`.
    - A folder that `save_to_disk` of the datasets library wrote. If it has several splits, its
      train, validation and test are used, unless other sources are set.

    Text files may be compressed by gzip and may have another encoding than UTF-8.
    `package:NAME/path` is a path inside an installed package.
    """

    name: str | None = None
    """The id of a data set on the Hub; train, validation and test are then names of its splits.
    None: train, validation and test are files."""
    _: KW_ONLY
    config: str | None = None
    """The name of a subset of the data set on the Hub. None: its only or default subset."""
    revision: str | None = None
    """A branch, tag or commit of the data set on the Hub. None: its main branch."""
    train: str = "train"
    """The training rows: a split of the data set on the Hub, or a file, a glob, or a folder that
    `save_to_disk` wrote."""
    validation: str | None = None
    """The validation rows, given like train. None: they are carved from train."""
    test: str | None = None
    """The test rows, given like train. None: they are carved from train if test_fraction is above
    0, else there is no test."""
    # Not Mapping or dict: tyro makes one flag for each key of a default of those two types, and
    # `--data.columns THEIRS OURS` would be unknown in a recipe that renames something.
    columns: MutableMapping[str, str] = field(default_factory=dict)
    """Pairs of names that rename columns: the name in the data, then the name that the task
    uses."""
    encoding: str | None = None
    """The encoding of files that are not UTF-8, such as gb18030 or cp1252. None: it is detected
    from the bytes of a file, with a note; if they leave a doubt, it is an error."""
    on_bad_row: Literal["error", "skip"] = "error"
    """What happens if a row has an empty value or a wrong type in a column that the task needs, or
    if a line of a file cannot be read as a row. skip: such rows are left out of every split, with
    a note that counts them and shows the first."""
    group: str | None = None
    """A column such as the id of a document: rows with the same value in it are never carved into
    different splits. None: rows with the same inputs are kept together."""
    validation_fraction: float = 0.1
    """The share of train that is carved for validation if validation is None. 0: there is no
    validation."""
    test_fraction: float = 0.0
    """The share of train that is carved for test if test is None."""
    limit: int | None = None
    """The largest number of training rows. They are chosen by their hash, so they are the same for
    every method and seed. None: all rows."""
    augment: Change | None = None
    """Adds changed copies of the training rows, which makes an epoch longer: words of the inputs
    are deleted, swapped or blanked out. mixed: one of the three is drawn for each copy. None: no
    copies."""
    augment_copies: int = 1
    """The largest number of changed copies of each row."""
    augment_rate: float = 0.1
    """The share of the words of a text that a copy changes, rounded to at least one word."""
    language: str | None = None
    """The code of the language of the texts (en, zh), for the model card."""

    def overridden(self, **changes: Any) -> Data:
        """A copy of these data with fields that a user changed.

        If `train` changes to other files, the fields that described the old data (name, config,
        revision, validation, test, columns, encoding, group, language) go back to their defaults,
        unless they are changed too. So they do if `name` changes and the old data were files: then
        the new data are read from their split `train`. Data that named no rows keep all fields.
        """
        if not self.names_rows:
            return replace(self, **changes)
        if changes.get("name") not in (None, self.name) and means_files(self.train):
            changes = {"train": "train", "validation": None, "test": None} | changes
            changes = {"columns": {}, "group": None, "encoding": None, "language": None} | changes
        train = changes.get("train", self.train)
        if train != self.train and changes.get("name") is None and means_files(train):
            fresh: dict[str, Any] = {"name": None, "config": None, "revision": None}
            fresh |= {"validation": None, "test": None, "columns": {}, "group": None}
            fresh |= {"encoding": None, "language": None}
            changes = fresh | changes
        return replace(self, **changes)

    @property
    def names_rows(self) -> bool:
        """Whether there is a Hub id or a file; without, the rows are objects of a program."""
        return self._names_train or self.validation is not None or self.test is not None

    @property
    def _names_train(self) -> bool:
        return self.name is not None or self.train != Data.train or means_files(self.train)

    def of_objects(self) -> Data:
        """These settings for rows that are objects of a program: without a Hub id and files."""
        return replace(
            self,
            name=None,
            config=None,
            revision=None,
            train=Data.train,
            validation=None,
            test=None,
            encoding=None,
        )

    def load(
        self,
        inputs: Sequence[str] | None = None,
        columns: Mapping[str, Kinds] | None = None,
        splits: Splits | None = None,
    ) -> Splits:
        """Reads the rows, carves the splits that have no source, and checks them.

        Args:
            inputs: the columns that a model reads, by their names after renaming. Two rows with
                equal inputs are carved into the same split and count as a leak between splits.
                None: every text column.
            columns: the columns that each row must have, by their names after renaming, with the
                types of their values. None: only lines that cannot be read are bad rows.
            splits: rows at hand, instead of those that are named here (`Splits.of`).

        Raises:
            ValueError: the data or a setting cannot be used. The message is one line that says
                what is wrong, where, and what the user can do.
        """
        self._check_settings()
        notes: list[str] = []
        needed = dict(columns or {})
        if splits is None:
            sources = self._sources(notes)
            rows = self._rows(sources, needed, notes)
        else:
            sources, rows = dict(splits.sources), splits.rows()
        rows = {
            split: replace(rows[split], dataset=self._rename(rows[split].dataset, source, notes))
            for split, source in sources.items()
        }
        if inputs is None:
            inputs = text_columns([split.dataset for split in rows.values()])
        group = None if self.group is None else self.columns.get(self.group, self.group)
        rows = without_bad_rows(rows, needed, notes, skip=self.on_bad_row == "skip")
        for split in rows:
            names, place = rows[split].dataset.column_names, f"{split} ({sources[split]})"
            for column in (*inputs, *needed):
                check_column(column, names, place, rename=True)
            if group is not None:
                check_column(group, names, f"{place}, which data.group names")

        shares = {"test": self.test_fraction, "validation": self.validation_fraction}
        shares = {split: share for split, share in shares.items() if share and split not in sources}
        if "train" not in rows:
            shares = {}
        if self.test_fraction and "test" in sources:
            notes.append(
                f"test: test_fraction={self.test_fraction:g} is not used: a test split is given"
            )
        carving = None
        if shares:
            parts, carving = carved(rows["train"], shares, inputs, group, notes)
            rows |= parts
        if self.limit is not None and "train" in rows:
            rows["train"] = limited(rows["train"], self.limit, notes)
        return Splits.from_rows(
            rows,
            inputs=inputs,
            group=group,
            carving=carving,
            sources={split: sources.get(split) or sources["train"] for split in rows},
            notes=notes,
        )

    def augmented(
        self, splits: Splits, inputs: Sequence[str], targets: Sequence[str], *, task: str, seed: int
    ) -> tuple[Dataset, tuple[str, ...]]:
        """The training rows with the changed copies that `augment` adds.

        `splits` does not change, so validation, test and baselines see no copies.

        Args:
            splits: the splits that were loaded.
            inputs: the columns that a model reads; their texts are changed.
            targets: the columns that a model learns.
            task: the name of the task, for the error message.
            seed: the seed of the draws.

        Returns:
            The rows, and notes for the user. Without `augment`, the training rows and no notes.

        Raises:
            ValueError: a column is both an input and a target, or an input is not a text.
        """
        if self.augment is None:
            return splits.train, ()
        if overlap := set(inputs) & set(targets):
            raise ValueError(
                f"data.augment {self.augment} changes the inputs of a model, and {task} learns the "
                f"same column, {', '.join(sorted(overlap))}: leave data.augment out"
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

    def _sources(self, notes: list[str]) -> dict[str, str]:
        """The files, or the split of the Hub's data set, of each split that is named."""
        if not self.names_rows:
            raise ValueError(
                "data: the recipe names no rows; give files or a Hub id, --data.train FILE or "
                "--data.name ID, or in Python the rows themselves, splits=Splits.of(train)"
            )
        named = {"train": self.train, "validation": self.validation, "test": self.test}
        if not self._names_train:
            del named["train"]
        sources = {split: source for split, source in named.items() if source is not None}
        return in_saved_folders(sources, notes) if self.name is None else sources

    def _rows(
        self, sources: Mapping[str, str], needed: Mapping[str, Kinds], notes: list[str]
    ) -> dict[str, Rows]:
        """The rows of each split that has a source."""
        if self.name is not None:
            return from_hub(self.name, self.config, self.revision, sources, notes)
        name_in_file = {ours: theirs for theirs, ours in self.columns.items()}
        kinds = {name_in_file.get(ours, ours): needed[ours] for ours in needed}
        return {
            split: from_files(source, notes, encoding=self.encoding, kinds=kinds)
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
                f"data: augment_copies is {self.augment_copies}; it must be at least 1; for no "
                "copies leave data.augment out"
            )
        if self.augment is None and (self.augment_copies, self.augment_rate) != (1, 0.1):
            raise ValueError(
                "data: augment_copies and augment_rate have no effect without data.augment; add "
                "--data.augment delete, swap, blank or mixed"
            )
        if self.encoding is not None:
            if self.name is not None:
                raise ValueError(
                    f"data: encoding is {self.encoding!r}, which only files can have; for the data "
                    f"set {self.name!r} on the Hub leave it out"
                )
            check_encoding(self.encoding)
        if self.name is None and (self.config or self.revision):
            raise ValueError(
                "data: config and revision are settings of a data set on the Hub; give its id as "
                "data.name, or leave them out"
            )

    def _rename(self, dataset: Dataset, source: str, notes: list[str]) -> Dataset:
        if len(set(self.columns.values())) < len(self.columns):
            raise ValueError(
                f"data: columns gives the same name to two columns: {dict(self.columns)}"
            )
        for theirs in self.columns:
            check_column(theirs, dataset.column_names, f"{source}, which data.columns renames")
        replaced = (set(self.columns.values()) & set(dataset.column_names)) - set(self.columns)
        for column in sorted(replaced):
            notes.append(
                f"{source}: its column {column} is left out, because data.columns gives this name "
                "to another column"
            )
        return dataset.remove_columns(sorted(replaced)).rename_columns(dict(self.columns))
