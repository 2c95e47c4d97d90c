"""Labels and thresholds of tiny checkpoints to look at."""

LABELS = ["dog", "cat", "traffic light", "boat"]
THRESHOLDS = [0.3, 0.45, 0.5, 0.55]
