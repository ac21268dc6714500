"""The evaluate step: real tasks on a real small model, compared with log-likelihoods computed by hand."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from tamis.errors import UserError
from tamis.evaluate import EvaluationSettings, evaluate
from tamis.evaluate.harness import load_tasks
from tamis.evaluate.tasks import Task
from tamis.pool.rows import Row, to_table
from tamis.pool.shards import write_shard

DOCUMENTS = [
    {"question": "What is the capital of France?", "choices": ["Paris", "Rome", "Oslo"], "answer": 0},
    {"question": "What is the capital of Italy?", "choices": ["Paris", "Rome", "Oslo"], "answer": 1},
    {"question": "How many legs has a dog?", "choices": ["four", "a hundred"], "answer": 0},
    {"question": "What colour is snow?", "choices": ["black", "white", "green as grass"], "answer": 1},
    {"question": "Which is a number?", "choices": ["seven", "house"], "answer": 0},
]
CHOICE = {
    "task": "facts",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "facts.jsonl"}},
    "test_split": "test",
    "output_type": "multiple_choice",
    "doc_to_text": "Question: {{question}}\nAnswer:",
    "doc_to_choice": "{{choices}}",
    "doc_to_target": "{{answer}}",
    "metric_list": [
        {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
        {"metric": "acc_norm", "aggregation": "mean", "higher_is_better": True},
    ],
}


def jsonl(path: Path, documents: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(document) + "\n" for document in documents))


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    """A multiple-choice task."""
    folder = tmp_path / "facts"
    folder.mkdir()
    jsonl(folder / "facts.jsonl", DOCUMENTS)
    (folder / "facts.yaml").write_text(yaml.safe_dump(CHOICE))
    return folder


@pytest.fixture
def heldout(tmp_path: Path, row: Callable[..., Row]) -> Path:
    rows = [row("What is 2 + 2?", "It is 4."), row("Say hello.", "Hello, world."), row("word " * 400, "Yes.")]
    write_shard(tmp_path / "heldout", 0, to_table(rows), {})
    return tmp_path / "heldout"


@pytest.fixture(scope="session")
def right(small_model: Path) -> list[tuple[bool, bool]]:
    """By hand: whether the right choice has the highest log-likelihood, in all and for each of its characters."""
    model = AutoModelForCausalLM.from_pretrained(small_model, dtype=torch.float32, attn_implementation="eager")
    tokenizer = AutoTokenizer.from_pretrained(small_model)
    results = []
    for document in DOCUMENTS:
        context = tokenizer(f"Question: {document['question']}\nAnswer:")["input_ids"]
        likelihoods = []
        for choice in document["choices"]:  # type: ignore[attr-defined]
            ids = torch.tensor(context + tokenizer(" " + choice)["input_ids"])
            with torch.no_grad():
                each = model(input_ids=ids[None]).logits[0].log_softmax(-1)
            places = range(len(context) - 1, len(ids) - 1)
            likelihoods.append(sum(float(each[i, ids[i + 1]]) for i in places))
        by_length = [x / len(c) for x, c in zip(likelihoods, document["choices"], strict=True)]  # type: ignore[call-overload]
        results.append(tuple(values.index(max(values)) == document["answer"] for values in (likelihoods, by_length)))
    return results  # type: ignore[return-value]


def test_an_evaluation_from_beginning_to_end(
    facts: Path, heldout: Path, small_model: Path, tmp_path: Path, right: list[tuple[bool, bool]]
) -> None:
    out = tmp_path / "out"
    settings = EvaluationSettings(tasks=(str(facts),), max_length=128)
    run = lambda s: evaluate(str(small_model), out, s, heldout=heldout, template="chat", arm="random-0")  # noqa: E731
    result = run(settings)

    task = result.tasks["facts"]
    accuracy = sum(first for first, _ in right) / 5
    assert 0 < accuracy < 1  # otherwise the comparison says little
    assert (task["metric"], task["n"], task["fewshot"]) == ("acc", 5, [0])
    assert task["value"] == task["metrics"]["acc"] == accuracy
    assert task["stderr"] == pytest.approx(math.sqrt(accuracy * (1 - accuracy) / 4))
    assert task["metrics"]["acc_norm"] == sum(second for _, second in right) / 5
    lines = pq.read_table(out / "tasks" / "facts.parquet").to_pylist()
    assert [(line["value"], line["acc_norm"]) for line in lines] == [(float(a), float(b)) for a, b in right]
    assert [line["doc_id"] for line in lines] == [f"{i:06d}" for i in range(5)]

    assert result.heldout is not None
    assert (result.heldout["rows"], result.heldout["scored"]) == (3, 2)
    assert pq.read_table(out / "heldout.parquet").num_rows == 3
    kept = json.loads((out / "evaluation.json").read_text())
    assert kept["arm"] == "random-0"
    assert kept["tasks"] == result.tasks
    assert (kept["work"]["facts"]["items"], kept["work"]["heldout"]["items"], kept["training"]) == (5, 3, None)
    assert kept["work"]["facts"]["seconds"] > 0 and kept["work"]["heldout"]["tokens_per_second"] > 0
    assert kept["model"]["digest"] == result.model["digest"]
    metrics = result.metrics()
    assert (metrics["facts"], metrics["heldout_nats_per_token"]) == (accuracy, result.heldout["nll_per_token"])
    assert metrics["facts_seconds"] > 0 and metrics["heldout_tokens_per_second"] > 0
    assert "held-out rows" in result.summary()
    assert f"facts: acc {accuracy:.4f}" in result.summary()
    assert "1 not scored: the prompt alone fills" in result.summary()

    # Again: nothing is done again. Without one part: only that part.
    stamps = {file: file.stat().st_mtime_ns for file in out.rglob("*.parquet")}
    assert run(settings).tasks == result.tasks
    (out / "tasks" / "facts.json").unlink()
    assert run(settings) == replace(result, work=run(settings).work)
    changed = [file.name for file, stamp in stamps.items() if file.stat().st_mtime_ns != stamp]
    assert changed == ["facts.parquet"]

    # Another task is added to what is there; other settings are not mixed with it.
    with pytest.raises(UserError, match=r"facts.parquet was made with limit 0 \(now 2\)"):
        run(settings.model_copy(update={"limit": 2}))
    with pytest.raises(UserError, match=r"heldout.parquet was made with template 'chat' \(now 'plain'\)"):
        evaluate(str(small_model), out, settings, heldout=heldout, template="plain", arm="random-0")
    (out / "heldout.json").write_text("{")
    with pytest.raises(UserError, match="not what an evaluation writes"):
        run(settings)


def test_a_limit_and_examples_in_the_prompt(facts: Path, small_model: Path, tmp_path: Path) -> None:
    config = CHOICE | {"fewshot_split": "test"}
    (facts / "facts.yaml").write_text(yaml.safe_dump(config))
    settings = EvaluationSettings(tasks=(str(facts / "facts.yaml"),), limit=3, num_fewshot=2, dtype="float32")
    result = evaluate(str(small_model), tmp_path / "out", settings, heldout=None, template="chat", arm="base")
    assert (result.tasks["facts"]["n"], result.tasks["facts"]["fewshot"]) == (3, [2])
    assert result.heldout is None
    assert not (tmp_path / "out" / "heldout.parquet").exists()


def test_a_task_that_generates_is_judged_by_its_first_filter(small_model: Path, tmp_path: Path) -> None:
    jsonl(tmp_path / "sums.jsonl", [{"question": f"What is {i} + 1?", "answer": f"#### {i + 1}"} for i in range(3)])
    config = {
        "include": "lm_eval/tasks/gsm8k/gsm8k.yaml",
        "task": "sums",
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": {"test": "sums.jsonl"}},
        "training_split": None,
        "fewshot_split": None,
        "num_fewshot": 0,
        "generation_kwargs": {"until": ["\n"], "max_gen_toks": 4, "do_sample": False},
    }
    (tmp_path / "sums.yaml").write_text(yaml.safe_dump(config))
    settings = EvaluationSettings(tasks=(str(tmp_path / "sums.yaml"),), apply_chat_template=True)
    result = evaluate(str(small_model), tmp_path / "out", settings, heldout=None, template="chat", arm="base")
    task = result.tasks["sums"]
    assert (task["metric"], task["n"]) == ("exact_match", 3)
    assert task["value"] == task["metrics"]["exact_match,strict-match"]
    assert "exact_match,flexible-extract" in task["metrics"]
    assert pq.read_table(tmp_path / "out" / "tasks" / "sums.parquet").num_rows == 3


def test_a_stock_task_on_a_local_copy_of_its_data(small_model: Path, shared_data: Path, tmp_path: Path) -> None:
    config = {
        "include": "lm_eval/tasks/arc/arc_easy.yaml",
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": {"test": str(shared_data / "evals" / "arc_easy_test.jsonl.gz")}},
        "training_split": None,
        "validation_split": None,
    }
    (tmp_path / "arc.yaml").write_text(yaml.safe_dump(config))
    settings = EvaluationSettings(tasks=(str(tmp_path / "arc.yaml"),), limit=12)
    result = evaluate(str(small_model), tmp_path / "out", settings, heldout=None, template="chat", arm="base")
    assert result.tasks["arc_easy"]["n"] == 12
    assert set(result.tasks["arc_easy"]["metrics"]) >= {"acc", "acc_norm", "acc_stderr"}


class TestRefusedBeforeTheModelIsLoaded:
    def refused(self, said: str, model: Path, out: Path, heldout: Path | None = None, **settings: Any) -> None:
        with pytest.raises(UserError, match=said):
            evaluate(str(model), out, EvaluationSettings(**settings), heldout=heldout, template="chat", arm="base")
        assert not out.exists()

    def test_nothing_to_evaluate_on(self, small_model: Path, tmp_path: Path) -> None:
        self.refused("nothing to evaluate on", small_model, tmp_path / "out")

    def test_held_out_rows_that_are_not_there(self, small_model: Path, tmp_path: Path) -> None:
        self.refused("no shards there", small_model, tmp_path / "out", heldout=tmp_path)

    def test_no_model(self, facts: Path, tmp_path: Path) -> None:
        self.refused("no such folder", tmp_path / "nowhere", tmp_path / "out", tasks=(str(facts),))

    def test_data_that_cannot_be_reached(self, small_model: Path, tmp_path: Path) -> None:
        (tmp_path / "piqa.yaml").write_text("include: lm_eval/tasks/piqa/piqa.yaml\n")
        said = "task 'piqa' cannot be loaded .*give a local copy"
        self.refused(said, small_model, tmp_path / "out", tasks=(str(tmp_path / "piqa.yaml"),))

    def test_a_split_that_the_data_does_not_have(self, small_model: Path, facts: Path, tmp_path: Path) -> None:
        (facts / "facts.yaml").write_text(yaml.safe_dump(CHOICE | {"training_split": "train"}))
        self.refused("no split or field 'train'", small_model, tmp_path / "out", tasks=(str(facts),))

    def test_a_metric_that_is_no_mean(self, small_model: Path, facts: Path, tmp_path: Path) -> None:
        metric = {"metric": "f1", "aggregation": "f1", "higher_is_better": True}
        (facts / "facts.yaml").write_text(yaml.safe_dump(CHOICE | {"metric_list": [metric]}))
        self.refused("its metric f1 is no mean", small_model, tmp_path / "out", tasks=(str(facts),))

    def test_an_unknown_stock_task(self) -> None:
        with pytest.raises(UserError, match="no lm-eval task 'arc_eazy'; did you mean 'arc_easy'"):
            load_tasks([Task("arc_eazy", "arc_eazy")])
