"""torchrun, but it ends with the step that started it: a killed step must not go on training."""

import os

from torch.distributed.run import main

from tamis.finetune.launch import PARENT, end_with_parent

if __name__ == "__main__":
    end_with_parent()
    os.environ[PARENT] = str(os.getpid())  # of the training processes
    main()
