"""The images that the components run in; the only place that names them. A release names them by digest."""

CORE = "ghcr.io/tamis-ai/tamis-core:0.1.0"
"""Prepare, select, report: no torch."""

GPU = "ghcr.io/tamis-ai/tamis-gpu:0.1.0"
"""Fit, score, fine-tune, evaluate: torch, DeepSpeed, lm-eval."""
