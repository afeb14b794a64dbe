"""The training loop, schedules, checkpoints, devices."""
