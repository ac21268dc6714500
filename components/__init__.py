"""The Kubeflow Pipelines face: one folder a step."""
