"""One trainer for every family: objectives, the compiled step, checkpoints, callbacks."""
