"""What each training process does: `python -m tamis.finetune.train job.json`, started by torchrun.

The Hugging Face Trainer drives a DeepSpeed engine. The loss of a step is the mean over all learned tokens of the step,
whatever their batch or process, so neither accumulation nor the number of processes changes what is learned.
"""

import inspect
import json
import math
import os
import resource
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import deepspeed
import deepspeed.ops
import torch
import transformers
from deepspeed.runtime.fp16.loss_scaler import LossScaler
from deepspeed.runtime.zero.config import ZeroStageEnum
from deepspeed.utils.tensor_fragment import fragment_address
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainerCallback, TrainingArguments
from transformers.integrations.deepspeed import unset_hf_deepspeed_config
from transformers.trainer_callback import PrinterCallback

from tamis.finetune import checkpoints
from tamis.finetune.batch import check_packing, collate, summed_loss
from tamis.finetune.examples import read_encoded
from tamis.finetune.launch import end_with_parent
from tamis.finetune.plan import plan, share
from tamis.finetune.save import gather, merge_adapters, save
from tamis.finetune.settings import TrainingSettings
from tamis.lm.pack import ATTENTION, install
from tamis.pool.shards import write_json

WHOLE = "whole"
"""Name of the file that says that every process has finished writing a checkpoint."""
BUCKET = 5_000_000
"""Values exchanged at a time; DeepSpeed's own 500 million would hold 2 GB for the smallest model."""
LINES = 20
"""Lines of progress that a training prints."""

# Without its compiled shared-memory helper, which takes a C++ compiler and 40 s, processes on a CPU talk through gloo.
deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


class AnswerTrainer(Trainer):  # type: ignore[misc]
    """The Trainer with packed batches that were planned ahead, and checkpoints that hold what a resume needs."""

    batches: DataLoader[Any]
    picks_logits: bool
    loss_is_scaled_for_ga = True

    def get_train_dataloader(self) -> DataLoader[Any]:
        """The planned batches of this process."""
        return self.batches

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> tuple[list[Any], Tensor]:
        """The batches of one step, and how many tokens all processes learn in it."""
        batches = [next(epoch_iterator) for _ in range(num_batches)]
        count = torch.tensor(sum(len(batch["labels"]) for batch in batches), device=device)
        torch.distributed.all_reduce(count)
        return batches, count

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        """This batch's part of the step's mean loss, times the processes, over which DeepSpeed averages."""
        loss: Tensor = summed_loss(model, inputs, self.picks_logits) * (self.args.world_size / num_items_in_batch)
        return loss

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Nothing: DeepSpeed's checkpoint has the weights, and the tuned model is saved by `tamis.finetune.save`."""


class Watch(TrainerCallback):  # type: ignore[misc]
    """Checks that DeepSpeed trains, tells the progress, and says which checkpoints are whole."""

    trainer: AnswerTrainer

    def __init__(self, processes: int, location: str | None) -> None:  # noqa: D107
        self.processes = processes
        self.location = location

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Refuses a training that is not the one that was asked for."""
        engine, world = type(self.trainer.model_wrapped).__name__, torch.distributed.get_world_size()
        if engine != "DeepSpeedEngine" or world != self.processes:
            raise RuntimeError(f"{engine} in {world} processes would train, not DeepSpeed in {self.processes}")
        self.trainer.model_wrapped.eval()
        check_packing(self.trainer.model_wrapped, args.device, exact=not args.bf16)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **kwargs: Any) -> None:
        """Prints the loss now and then; a loss that is no number ends the training."""
        if "loss" not in logs:
            return
        step = state.global_step
        if not math.isfinite(logs["loss"]):
            raise FloatingPointError(f"the loss became {logs['loss']} at step {step}; lower learning_rate")
        if self.trainer.model_wrapped.skipped_steps:  # DeepSpeed would only mention it and go on
            raise FloatingPointError(f"the gradients became infinite or no numbers at step {step}; lower learning_rate")
        if state.is_world_process_zero and (step % max(1, state.max_steps // LINES) == 0 or step == state.max_steps):
            print(f"step {step}/{state.max_steps}: loss {logs['loss']:.4f}", flush=True)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Marks the checkpoint as whole when every process has written its part, then removes the older ones.

        One that was sent to a store is not kept here.
        """
        barrier = torch.distributed.barrier
        newest = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        barrier()
        if self.location:
            rank = torch.distributed.get_rank()
            checkpoints.publish(newest, self.location, state.global_step, rank, self.processes, barrier)
        elif state.is_world_process_zero:
            (newest / WHOLE).touch()
        if state.is_local_process_zero:
            for other in newest.parent.glob("checkpoint-*"):
                if self.location or other != newest:
                    shutil.rmtree(other)
        barrier()


def deepspeed_config(settings: TrainingSettings, processes: int, bf16: bool) -> dict[str, Any]:
    """DeepSpeed's configuration; the optimizer is torch's AdamW, which needs no compiler.

    In bfloat16 stage 0 is run as stage 1: the same in one process, while DeepSpeed's own stage 0 learns otherwise than
    its other stages.
    """
    return {
        "train_micro_batch_size_per_gpu": settings.batch_size,
        "gradient_accumulation_steps": settings.accumulation,
        "train_batch_size": settings.batch_size * settings.accumulation * processes,
        "gradient_clipping": 1.0,
        "bf16": {"enabled": bf16},
        "zero_optimization": {
            "stage": max(settings.zero_stage, int(bf16)),
            "reduce_bucket_size": BUCKET,
            "allgather_bucket_size": BUCKET,
        },
    }


def arguments(settings: TrainingSettings, job: dict[str, Any], steps: int) -> TrainingArguments:
    """The Trainer's own settings."""
    bf16 = job["dtype"] == "bfloat16"
    return TrainingArguments(
        output_dir=job["work"],
        deepspeed=deepspeed_config(settings, job["processes"], bf16),
        use_cpu=not job["gpu"],
        bf16=bf16,
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.accumulation,
        max_steps=steps,
        learning_rate=settings.rate,
        lr_scheduler_type="constant_with_warmup" if settings.schedule == "constant" else settings.schedule,
        warmup_steps=int(settings.warmup_ratio * steps),
        weight_decay=settings.weight_decay,
        max_grad_norm=1.0,
        optim="adamw_torch_fused",  # on a CPU five times as fast as the plain one
        seed=settings.seed,
        average_tokens_across_devices=True,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="steps" if settings.checkpoint_every else "no",
        save_steps=settings.checkpoint_every or 1,
        remove_unused_columns=False,
        dataloader_pin_memory=job["gpu"],
        disable_tqdm=True,
        report_to=[],
    )


def load(job: dict[str, Any], settings: TrainingSettings) -> Any:
    """The model to train, with adapters if they are what is trained."""
    install()
    model = AutoModelForCausalLM.from_pretrained(
        job["model"],
        dtype=getattr(torch, job["dtype"]),
        attn_implementation=ATTENTION,
        trust_remote_code=False,
        use_safetensors=True,
    )
    model.config.use_cache = False
    if settings.method == "full":
        return model
    from peft import LoraConfig, get_peft_model

    adapters = LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=list(settings.lora_targets) or "all-linear",
    )
    return get_peft_model(model, adapters, autocast_adapter_dtype=False)  # master weights are DeepSpeed's business


def read_no_code() -> None:
    """Lets torch read tensors and plain values only, whoever asks.

    DeepSpeed reads its checkpoints as pickles, which may run whatever is in them, and they may come from a store that
    others write. The few plain classes that it puts into them, besides what torch allows, are allowed by name.
    """
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    torch.serialization.add_safe_globals([LossScaler, ZeroStageEnum, fragment_address])


def same_step(resume: str | None, device: str) -> None:
    """Refuses to go on from different checkpoints, as nodes may find them while one of them is still being removed."""
    step = float(resume.rpartition("-")[2]) if resume else 0.0
    steps = torch.tensor([step, -step], device=device)
    torch.distributed.all_reduce(steps, torch.distributed.ReduceOp.MAX)
    if steps[0] != -steps[1]:
        raise RuntimeError(f"the nodes would go on from different steps ({step:.0f} here); start them again")


def peak_memory(gpu: bool) -> int:
    """MiB that the process with the most memory had at most: of its GPU, or resident."""
    own = torch.cuda.max_memory_allocated() if gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    most = torch.tensor(float(own), device="cuda" if gpu else "cpu")
    torch.distributed.all_reduce(most, torch.distributed.ReduceOp.MAX)
    return int(most.item()) >> 20


def main(job_file: Path) -> None:
    """Trains as the job says and leaves the model in its work folder; process 0 writes `result.json` there, last."""
    end_with_parent()
    read_no_code()
    job = json.loads(job_file.read_text())
    settings = TrainingSettings.model_validate(job["settings"])
    work, processes = Path(job["work"]), job["processes"]
    rows = read_encoded(work / "rows.parquet")
    steps = plan([len(row.ids) for row in rows], settings, processes)

    transformers.utils.logging.disable_progress_bar()
    args = arguments(settings, job, len(steps))
    # Before the model is loaded: ZeRO stage 3 shares it out while it loads, and needs to know among whom.
    deepspeed.init_distributed(dist_backend="nccl" if job["gpu"] else "gloo")
    same_step(job["resume"], f"cuda:{args.local_process_index}" if job["gpu"] else "cpu")
    torch.manual_seed(settings.seed)
    model = load(job, settings)
    tokenizer = AutoTokenizer.from_pretrained(job["model"], trust_remote_code=False)

    watch = Watch(processes, job["checkpoints"])
    trainer = AnswerTrainer(model=model, args=args, callbacks=[watch])
    watch.trainer = trainer
    trainer.remove_callback(PrinterCallback)
    trainer.batches = DataLoader(
        rows,  # type: ignore[arg-type]
        batch_sampler=share(steps, torch.distributed.get_rank(), processes),
        collate_fn=collate,
    )
    inner = model.get_base_model() if settings.method == "lora" else model
    trainer.picks_logits = "logits_to_keep" in inspect.signature(inner.forward).parameters
    started = time.monotonic()
    trainer.train(resume_from_checkpoint=job["resume"])
    seconds = time.monotonic() - started

    weights = gather(model, sharded=settings.zero_stage == 3, keep=args.process_index == 0)
    memory = peak_memory(job["gpu"])
    if args.process_index == 0:
        unset_hf_deepspeed_config()  # what is built from here on is not shared out
        dtype = getattr(torch, job["dtype"])
        if settings.method == "lora":
            weights = merge_adapters(weights, model, dtype)
        inner.config.use_cache = True
        save(weights, inner, tokenizer, dtype, work / "model")
        result = {
            "losses": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry],
            "steps": len(steps),
            "seconds": seconds,
            "peak_memory_mib": memory,
            "tokens": sum(len(rows[i].ids) for step in steps for batch in step for i in batch),
        }
        write_json(work / "result.json", result)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    torch.distributed.destroy_process_group()
