"""`pointsman rollout`: rollouts looked at, changed in the file, and judged by what was recorded."""
