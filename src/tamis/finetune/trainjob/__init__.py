"""Training on nodes of their own, through a Kubeflow Trainer `TrainJob`."""
