"""Runs of the pre-training objectives: what they charge, equal, save and refuse."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from transformers import (
    AlbertForPreTraining,
    AutoModelForMaskedLM,
    ElectraForMaskedLM,
    ElectraForPreTraining,
    pipeline,
)

from finetune import (
    Classification,
    Data,
    LoRA,
    MaskedLanguageModeling,
    Partial,
    Pretrained,
    PromptTuning,
    Recipe,
    ReplacedTokens,
    Run,
    Scratch,
    SentenceOrder,
    Tagging,
    Training,
    plan,
    run,
)
from finetune.cli import main
from finetune.models.electra import PairedElectraForPreTraining
from finetune.objectives import Replaced, objective_of
from finetune.objectives.examples import IGNORED
from finetune.overrides import overridden
from finetune.prepare import prepare
from finetune.studies import load
from finetune.training.trainer import FinetuneTrainer
from finetune.verbs.evaluate import evaluate_runs
from finetune.verbs.merge import merge
from tests.conftest import build, kill, tokenizer, weights
from tests.objectives.label_runs import tagged, texts
from tests.objectives.pretraining_runs import (
    CONFIG,
    TASKS,
    documents,
    recipe,
    scratch,
    untrained,
    write,
)

SCORES = {
    "bert": {"loss", "perplexity", "masked_accuracy"},
    "albert": {"loss", "masked_loss", "masked_accuracy", "order_loss", "order_accuracy"},
    "electra": {"loss", "masked_loss", "masked_accuracy", "replaced_loss", "replaced_f1"},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """A finished run of each objective."""
    folder = tmp_path_factory.mktemp("objectives")
    steps: Any = {"max_steps": 30, "eval_steps": 10, "save_steps": 10}
    return {
        kind: run(recipe(folder / kind, task, untrained(kind), **steps))
        for kind, task in TASKS.items()
    }


def history(result: Run, name: str = "loss") -> list[float]:
    lines = (result.folder / "history.jsonl").read_text().splitlines()
    return [point[name] for point in map(json.loads, lines) if name in point]


def batch(made: Recipe, rows: int = 8) -> tuple[FinetuneTrainer, dict[str, Any]]:
    """A trainer and what its first rows are as a batch."""
    prepared = prepare(made)
    trainer = FinetuneTrainer(prepared)
    dataset: Any = trainer.train_dataset
    found: dict[str, Any] = trainer.data_collator(dataset.__getitems__(range(rows)))
    return trainer, found


# ------------------------------------------------------------------------------ what is charged


def test_masked_tokens_are_charged_by_what_transformers_itself_charges(tmp_path: Path) -> None:
    trainer, given = batch(recipe(tmp_path, TASKS["bert"], untrained("bert")))
    assert isinstance(trainer.model, torch.nn.Module)
    inputs = {name: given[name] for name in ("input_ids", "attention_mask", "labels")}
    count = trainer._get_num_items_in_batch([given], torch.device("cpu"))
    assert count.tolist() == [(given["labels"] != IGNORED).sum()]
    ours = trainer.compute_loss(trainer.model, dict(given), num_items_in_batch=count)
    assert ours.item() == pytest.approx(trainer.model(**inputs).loss.item(), rel=1e-5)


def test_order_is_charged_by_what_transformers_itself_charges(tmp_path: Path) -> None:
    trainer, given = batch(recipe(tmp_path, TASKS["albert"], untrained("albert")))
    assert isinstance(trainer.model, AlbertForPreTraining)
    names = ("input_ids", "attention_mask", "token_type_ids", "labels")
    inputs = {name: given[name] for name in names}
    count = trainer._get_num_items_in_batch([given], torch.device("cpu"))
    assert count.tolist() == [(given["labels"] != IGNORED).sum(), 8]
    ours = trainer.compute_loss(trainer.model, dict(given), num_items_in_batch=count)
    plain = trainer.model(**inputs, sentence_order_label=given["order"][:, 0]).loss
    assert ours.item() == pytest.approx(plain.item(), rel=1e-5)


def pair(tmp_path: Path) -> tuple[FinetuneTrainer, PairedElectraForPreTraining, dict[str, Any]]:
    trainer, given = batch(recipe(tmp_path, TASKS["electra"], untrained("electra")))
    assert isinstance(trainer.model, PairedElectraForPreTraining)
    bias = trainer.model.generator.generator_lm_head.bias
    torch.nn.init.normal_(bias, std=2.0)  # else it is flat
    with torch.no_grad():
        bias[given["labels"].unique()[1:]] += 3  # and never right
    return trainer, trainer.model, given


def test_replaced_tokens_are_charged_as_by_hand_on_the_same_sampled_tokens(tmp_path: Path) -> None:
    trainer, electra, given = pair(tmp_path)
    count = trainer._get_num_items_in_batch([given], torch.device("cpu"))
    ours = trainer.compute_loss(electra, dict(given), num_items_in_batch=count)

    chosen, ids, mask = given["labels"] != IGNORED, given["input_ids"], given["attention_mask"]
    logits = electra.generator(input_ids=ids, attention_mask=mask).logits
    masked = cross_entropy(logits[chosen], given["labels"][chosen])
    read = ids.clone()
    for row, place in chosen.nonzero().tolist():
        reached = 0.0
        for token, chance in enumerate(logits[row, place].softmax(-1).tolist()):
            reached += chance
            if reached >= given["draws"][row, place]:
                read[row, place] = token
                break
    scored = given["tokens"] != IGNORED
    labels = (read != given["tokens"])[scored].float()
    said = electra.discriminator(input_ids=read, attention_mask=mask).logits[scored]
    replaced = binary_cross_entropy_with_logits(said, labels)
    assert ours.item() == pytest.approx((masked + 50 * replaced).item(), rel=1e-4)
    assert 0 < labels.sum() < chosen.sum()  # some are sampled as they were
    assert count.tolist() == [chosen.sum(), scored.sum()]


def test_a_sample_follows_the_generators_distribution(tmp_path: Path) -> None:
    _, electra, given = pair(tmp_path)
    one = {name: given[name][:1] for name in ("input_ids", "attention_mask")}
    chosen = given["labels"][:1] != IGNORED
    chosen[0, chosen[0].nonzero()[1:, 0]] = False  # one token
    draws = torch.linspace(0, 1, 2001)[:-1]
    each = {name: of.expand(len(draws), -1) for name, of in one.items()}
    with torch.no_grad():
        found = electra(
            **each,
            chosen=chosen.expand(len(draws), -1),
            draws=draws[:, None].expand(-1, chosen.shape[1]),
        )
    place = int(chosen[0].nonzero())
    counts = torch.bincount(found.read[:, place], minlength=electra.config.vocab_size) / len(draws)
    chances = found.masked_logits[0].softmax(-1)
    assert (counts - chances).abs().max() < 1e-3
    elsewhere = [i for i in range(chosen.shape[1]) if i != place]
    assert torch.equal(found.read[:, elsewhere], each["input_ids"][:, elsewhere])


def test_the_generator_learns_nothing_of_the_discriminator_but_by_shared_embeddings(
    tmp_path: Path,
) -> None:
    _, electra, given = pair(tmp_path)
    Replaced().nats(electra, given)["replaced"].nats.sum().backward()  # type: ignore[no-untyped-call]  # torch
    reached = {name for name, p in electra.named_parameters() if p.grad is not None}
    shared = {name for name in reached if electra.get_parameter(name).grad.abs().sum() > 0}  # type: ignore[union-attr]  # not None
    assert not {name for name in reached if name.startswith("generator.")}
    assert "discriminator.electra.embeddings.word_embeddings.weight" in shared
    embeddings = electra.discriminator.electra.embeddings
    for kind in ("word", "position", "token_type"):
        one = electra.generator.electra.embeddings.get_submodule(f"{kind}_embeddings").weight
        assert one is embeddings.get_submodule(f"{kind}_embeddings").weight
    assert electra.generator.generator_lm_head.weight is embeddings.word_embeddings.weight
    electra.zero_grad()
    Replaced().nats(electra, given)["masked"].nats.sum().backward()  # type: ignore[no-untyped-call]  # torch
    learns = {name for name, p in electra.named_parameters() if p.grad is not None}
    assert {name for name in learns if name.startswith("discriminator.")} == {
        f"discriminator.electra.embeddings.{kind}_embeddings.weight"
        for kind in ("word", "position", "token_type")
    }


def test_padding_changes_no_part_of_the_loss(tmp_path: Path) -> None:
    for kind, task in TASKS.items():
        trainer, given = batch(recipe(tmp_path / kind, task, untrained(kind)))
        assert trainer.model is not None
        rows = trainer.train_dataset.__getitems__(range(8))  # type: ignore[union-attr]  # not None
        shorter = [row for row in rows if len(row["input_ids"]) < given["input_ids"].shape[1]]
        assert shorter
        objective = task.objective(None)  # type: ignore[arg-type]  # unread
        with torch.no_grad():
            together = objective.nats(trainer.model, given)
            for number, row in enumerate(rows):
                batch_of_one = trainer.data_collator([row])
                for name, alone in objective.nats(trainer.model, batch_of_one).items():
                    for field in ("nats", "scored", "hits", "out_of"):
                        both = vars(together[name])[field][number].double().sum()
                        own = vars(alone)[field][0].double().sum()
                        torch.testing.assert_close(both, own, rtol=1e-4, atol=1e-4)


# ------------------------------------------------------------------------------ runs


@pytest.mark.parametrize("kind", TASKS)
def test_the_loss_falls_and_every_score_is_there(made: dict[str, Run], kind: str) -> None:
    result = made[kind]
    losses = history(result)
    assert losses[-1] < 0.85 * losses[0]
    quality = result.metrics["quality"]
    assert set(quality) == SCORES[kind]
    assert {entry["mode"] for entry in quality.values()} == {"teacher_forced"}
    row = result.predictions[0]
    assert set(row["statistics"]) == SCORES[kind]
    if kind == "bert":
        assert quality["loss"]["value"] < result.metrics["floors"]["unigram"]["loss"]["value"]
    else:
        part = "order" if kind == "albert" else "replaced"
        weight = 1 if kind == "albert" else 50
        sums = quality["masked_loss"]["value"] + weight * quality[f"{part}_loss"]["value"]
        assert quality["loss"]["value"] == pytest.approx(sums)
        assert "masked_loss" in result.metrics["floors"]["unigram"]
    assert "eval_loss" in (result.folder / "history.jsonl").read_text()


def test_an_order_that_the_text_tells_is_learned(tmp_path: Path) -> None:
    albert = scratch("albert", classifier_dropout_prob=0.0, initializer_range=0.2)
    steps: Any = {"max_steps": 60, "eval_steps": 60, "save_steps": 60, "learning_rate": 3e-3}
    made = recipe(tmp_path, TASKS["albert"], albert, **steps)
    for number, name in enumerate(("train", "validation", "test")):
        words = [text.split() for text in documents(24, number)]
        texts = [f"first {' '.join(of[:5])} . last {' '.join(of[7:12])} ." for of in words]
        write(tmp_path / f"{name}.jsonl", texts)
    quality = run(made).metrics["quality"]
    assert quality["order_accuracy"]["value"] > 90


@pytest.mark.parametrize("kind", TASKS)
def test_a_run_in_bfloat16_that_checkpoints_activations_learns_too(
    kind: str, tmp_path: Path
) -> None:
    options: Any = {"bf16": True, "label_smoothing_factor": 0.1}
    options["gradient_checkpointing"] = kind != "albert"  # which transformers cannot
    losses = history(run(recipe(tmp_path, TASKS[kind], untrained(kind), **options)))
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("kind", TASKS)
def test_evaluate_gives_the_scores_of_the_run_again_and_again(
    made: dict[str, Run], kind: str
) -> None:
    (once,), (again,) = (evaluate_runs([str(made[kind].folder)]) for _ in range(2))
    assert once == again
    for name, entry in made[kind].metrics["quality"].items():
        assert once.quality[name]["value"] == pytest.approx(entry["value"], rel=1e-4)
    (other,) = evaluate_runs([str(made[kind].folder)], "train")
    assert other.quality["loss"]["split"] == "train"


@pytest.mark.parametrize("kind", TASKS)
def test_a_killed_run_goes_on_to_the_same_losses_and_weights(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An epoch has two steps: it goes on within the second, in which other tokens are drawn.
    options: Any = {"max_steps": 6, "save_steps": 3, "eval_steps": 3}
    options["per_device_train_batch_size"] = 24
    whole = recipe(
        tmp_path / "whole", TASKS[kind], scratch(kind, hidden_dropout_prob=0.1), **options
    )
    straight = run(whole)
    folder = str(tmp_path / "killed")
    killed = replace(whole, training=replace(whole.training, output_dir=folder))
    kill(killed, monkeypatch)
    resumed = run(killed)
    assert history(resumed) == history(straight)
    assert history(resumed, "eval_loss") == history(straight, "eval_loss")
    for name, value in weights(straight).items():
        assert torch.equal(weights(resumed)[name], value)


@pytest.mark.parametrize("kind", TASKS)
def test_accumulated_batches_have_the_losses_of_a_large_one(kind: str, tmp_path: Path) -> None:
    found = []
    for size, steps in ((16, 1), (2, 8)):
        made = recipe(
            tmp_path / str(size),
            TASKS[kind],
            untrained(kind),
            max_steps=4,
            optim="sgd",
            learning_rate=1e-2,
            per_device_train_batch_size=size,
            gradient_accumulation_steps=steps,
        )
        found.append(history(run(made)))
    assert len(found[0]) == 4
    assert found[1] == pytest.approx(found[0], rel=1e-4)


READ = """
import json, sys
from transformers import AlbertForPreTraining, AutoModelForMaskedLM, AutoTokenizer
from transformers import ElectraForPreTraining
from transformers.utils import logging
logging.set_verbosity_error()
found = []
for auto, folder in json.loads(sys.argv[1]):
    model, info = globals()[auto].from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"], info
    inputs = AutoTokenizer.from_pretrained(folder)("the [MASK] fox", return_tensors="pt")
    found.append(float(sum(one.double().abs().sum() for one in model.eval()(**inputs).values())))
print(json.dumps(found))
"""


def test_a_fresh_process_of_plain_transformers_gives_the_same_numbers(
    made: dict[str, Run],
) -> None:
    folders = {kind: result.folder / "model" for kind, result in made.items()}
    loaded: dict[str, Any] = {kind: Pretrained(str(of)).load() for kind, of in folders.items()}
    models = [
        ("AutoModelForMaskedLM", folders["bert"], loaded["bert"].model),
        ("AlbertForPreTraining", folders["albert"], loaded["albert"].model),
        ("ElectraForPreTraining", folders["electra"], loaded["electra"].model.discriminator),
        (
            "AutoModelForMaskedLM",
            folders["electra"] / "generator",
            loaded["electra"].model.generator,
        ),
    ]
    wanted = json.dumps([(auto, str(folder)) for auto, folder, _ in models])
    command = [sys.executable, "-c", READ, wanted]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    ours = []
    for (_, _, one), kind in zip(models, [*TASKS, "electra"], strict=True):
        inputs = loaded[kind].tokenizer("the [MASK] fox", return_tensors="pt")
        with torch.no_grad():
            outputs = one.eval()(**inputs).values()
        ours.append(float(sum(tensor.double().abs().sum() for tensor in outputs)))
    assert json.loads(out.splitlines()[-1]) == pytest.approx(ours, rel=1e-5)
    for kind, task in TASKS.items():
        assert type(objective_of(loaded[kind].model)) is type(task.objective(None))  # type: ignore[arg-type]  # unread


@pytest.mark.parametrize("kind", TASKS)
def test_what_was_pre_trained_classifies_and_tags_afterwards(
    made: dict[str, Run], kind: str, tmp_path: Path
) -> None:
    folder = made[kind].folder / "model"
    before = weights(made[kind])
    for task, of in ((Classification(), texts(24)), (Tagging(), tagged(24))):
        name = type(task).__name__
        file = tmp_path / f"{name}.jsonl"
        file.write_text("\n".join(json.dumps(row) for row in of))
        made_of_it = Recipe(
            model=Pretrained(str(folder)),
            task=task,
            data=Data(train=str(file), test_fraction=0.2),
            training=Training(output_dir=str(tmp_path / name), max_steps=2, eval_strategy="no"),
        )
        prepared = prepare(made_of_it)
        held = {name.partition(".")[2]: p for name, p in prepared.model.named_parameters()}
        same = {n.partition(".")[2] for n in before} & {*held}
        assert len(same) > 15
        for key, value in before.items():
            if key.startswith(f"{kind}.") and key.partition(".")[2] in held:
                assert torch.equal(held[key.partition(".")[2]], value)
        assert not {n for n in prepared.fresh if "encoder" in n or "embeddings" in n}
        assert run(made_of_it).metrics["quality"]["loss"]["value"] > 0


def test_the_saved_masked_model_is_a_pipeline(made: dict[str, Run]) -> None:
    fill: Any = pipeline("fill-mask", model=str(made["bert"].folder / "model"))
    found = fill("the quick [MASK] fox jumps over . the quick brown fox")
    assert {"token_str", "score"} <= found[0].keys()


@pytest.mark.parametrize("kind", TASKS)
def test_the_card_shows_code_that_runs(
    made: dict[str, Run], kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (made[kind].folder / "model" / "README.md").read_text()
    exec(text.partition("```python\n")[2].partition("```")[0], {})
    assert capsys.readouterr().out.strip()


def test_more_of_a_pre_training_starts_from_both_of_its_models(
    made: dict[str, Run], tmp_path: Path
) -> None:
    more = recipe(tmp_path, TASKS["electra"], Pretrained(str(made["electra"].folder / "model")))
    prepared = prepare(more)
    assert not prepared.fresh
    result = run(more)
    assert result.metrics["untouched"]["loss"]["value"] == pytest.approx(
        made["electra"].metrics["quality"]["loss"]["value"], rel=1e-4
    )


# ------------------------------------------------------------------------------ methods


def test_partial_trains_only_what_it_names(made: dict[str, Run], tmp_path: Path) -> None:
    for kind, task in TASKS.items():
        base = Pretrained(str(made[kind].folder / "model"))
        select = "blocks[-1:].feed_forward"
        result = run(recipe(tmp_path / kind, task, base, Partial(select), max_steps=2))
        before, after = weights(made[kind]), weights(result)
        changed = {name for name in after if not torch.equal(before[name], after[name])}
        assert changed
        assert all("layer" in name and "attention." not in name for name in changed)


def test_lora_on_masked_tokens_reloads_and_merges(made: dict[str, Run], tmp_path: Path) -> None:
    base = Pretrained(str(made["bert"].folder / "model"))
    result = run(recipe(tmp_path, TASKS["bert"], base, LoRA(r=2), max_steps=2))
    (again,) = evaluate_runs([str(result.folder)])
    for name, entry in result.metrics["quality"].items():
        assert again.quality[name]["value"] == pytest.approx(entry["value"], rel=1e-4)
    merge(str(result.folder), tmp_path / "merged")
    assert AutoModelForMaskedLM.from_pretrained(str(tmp_path / "merged"))
    text = (result.folder / "model" / "README.md").read_text()
    exec(text.partition("```python\n")[2].partition("```")[0], {})


@pytest.mark.parametrize(
    ("task", "method"),
    [("bert", PromptTuning()), ("albert", LoRA()), ("electra", LoRA())],
)
def test_methods_that_train_no_weights_of_the_model_are_refused(
    made: dict[str, Run], task: str, method: Any, tmp_path: Path
) -> None:
    base = Pretrained(str(made[task].folder / "model"))
    with pytest.raises(ValueError, match="cannot be used with it; use Full or Partial"):
        plan(recipe(tmp_path, TASKS[task], base, method))


# ------------------------------------------------------------------------------ models


def test_roberta_is_read_up_to_its_last_position(tmp_path: Path) -> None:
    made = recipe(tmp_path, MaskedLanguageModeling(), scratch("roberta"), max_steps=1)
    assert prepare(made).shape.max_tokens == 64 - 1  # counted from behind its pad token, 0
    assert run(made).metrics["quality"]["loss"]["value"] > 0


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
@pytest.mark.parametrize(
    ("task", "message"),
    [
        (MaskedLanguageModeling(), "MaskedLanguageModeling needs a bidirectional encoder"),
        (SentenceOrder(), "SentenceOrder needs an albert, and this model is of"),
        (ReplacedTokens(), "ReplacedTokens needs an electra, and this model is of"),
    ],
)
def test_models_of_another_kind_are_refused_in_a_line(
    kind: str, task: Any, message: str, tmp_path: Path
) -> None:
    build(kind).save_pretrained(str(tmp_path / "base"))
    tokenizer(kind).save_pretrained(str(tmp_path / "base"))
    lstm = Scratch("lstm", {"hidden_size": 32}, vocab_size=400)
    for base in (Pretrained(str(tmp_path / "base")), Scratch(kind, vocab_size=400), lstm):
        with pytest.raises(ValueError, match=message) as caught:
            plan(recipe(tmp_path, task, base))
        assert "\n" not in str(caught.value)


def test_a_generator_is_as_large_as_it_was_asked_to_be(tmp_path: Path) -> None:
    task = ReplacedTokens(block_size=32, generator_size=0.25)
    prepared = prepare(recipe(tmp_path, task, untrained("electra")))
    assert isinstance(prepared.model, PairedElectraForPreTraining)
    own = prepared.model.generator.config
    assert own.num_attention_heads == 1
    assert own.hidden_size == CONFIG["hidden_size"] / 4
    assert own.intermediate_size == CONFIG["intermediate_size"] / 4
    assert own.embedding_size == prepared.model.config.embedding_size


def test_a_discriminator_alone_gets_a_new_generator(made: dict[str, Run], tmp_path: Path) -> None:
    folder = tmp_path / "alone"
    ElectraForPreTraining.from_pretrained(str(made["electra"].folder / "model")).save_pretrained(
        str(folder)
    )
    prepare(recipe(tmp_path, TASKS["electra"], untrained("electra"))).tokenizer.save_pretrained(
        str(folder)
    )
    prepared = prepare(recipe(tmp_path, TASKS["electra"], Pretrained(str(folder))))
    assert isinstance(prepared.model, PairedElectraForPreTraining)
    assert isinstance(prepared.model.generator, ElectraForMaskedLM)
    assert prepared.fresh
    assert prepared.model.generator.config.hidden_size == CONFIG["hidden_size"] / 2
    assert all(name.startswith("generator.") for name in prepared.fresh)


@pytest.mark.parametrize("kind", TASKS)
def test_generate_and_predict_refuse_what_was_only_pre_trained(
    made: dict[str, Run], kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(made[kind].folder)
    assert main(["generate", folder, "--prompt", "the"]) == 2
    assert "this model is pre-trained and writes no text" in capsys.readouterr().err
    assert main(["predict", folder, "the"]) == 2
    assert "is pre-trained and labels nothing" in capsys.readouterr().err


def test_workers_that_outlive_an_epoch_are_refused(tmp_path: Path) -> None:
    made = recipe(tmp_path, TASKS["bert"], untrained("bert"))
    training = replace(made.training, dataloader_persistent_workers=True, dataloader_num_workers=1)
    with pytest.raises(ValueError, match="used with MaskedLanguageModeling, which draws"):
        run(replace(made, training=training))


def test_a_worker_draws_what_the_first_process_would(tmp_path: Path) -> None:
    found = []
    for workers in (0, 1):
        made = recipe(tmp_path / str(workers), TASKS["bert"], untrained("bert"), max_steps=4)
        training = replace(made.training, dataloader_num_workers=workers)
        found.append(history(run(replace(made, training=training))))
    assert found[0] == found[1]


@pytest.mark.parametrize("arm", TASKS)
def test_every_arm_of_the_study_is_prepared_and_takes_steps(arm: str, tmp_path: Path) -> None:
    given = recipe(tmp_path, TASKS[arm], untrained(arm))
    options = ["--data.train", given.data.train, "--data.validation", given.data.train]
    options += ["--data.test", given.data.train, "--training.max-steps", "2"]
    options += ["--training.eval-steps", "2", "--training.save-steps", "2"]
    options += ["--training.output-dir", str(tmp_path / "arm"), "--model.vocab-size", "400"]
    made = overridden(load(f"objectives/{arm}"), options)
    assert type(made.task) is type(TASKS[arm])
    assert run(made).metrics["cost"]["steps"] == 2


def test_a_generator_of_another_size_than_asked_is_refused(
    made: dict[str, Run], tmp_path: Path
) -> None:
    kept = Pretrained(str(made["electra"].folder / "model"))
    size = made["electra"].recipe.task
    assert isinstance(size, ReplacedTokens)
    prepare(recipe(tmp_path / "same", size, kept))
    other = ReplacedTokens(block_size=32, generator_size=1.0)
    with pytest.raises(ValueError, match=r"asks for a generator that is 32 wide"):
        prepare(recipe(tmp_path / "other", other, kept))
