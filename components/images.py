"""The images that the components run in; the only place that names them.

A release names them by digest, because a tag can move and a cached result would not notice. Whoever mirrors the images
or derives own ones compiles with other names: `TAMIS_IMAGE_CORE` and `TAMIS_IMAGE_GPU`, in the environment of
`tamis compile`.
"""

import os

CORE = os.environ.get("TAMIS_IMAGE_CORE") or "ghcr.io/tamis-ai/tamis-core:0.1.0"
"""Steps without a model, no torch: preflight, prepare, select, report."""

GPU = os.environ.get("TAMIS_IMAGE_GPU") or "ghcr.io/tamis-ai/tamis-gpu:0.1.0"
"""Steps with one: fit, score, finetune, evaluate; torch, DeepSpeed, lm-eval."""
