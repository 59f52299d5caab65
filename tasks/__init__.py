"""The questions: restoration tasks, their data, their metrics, their backbones."""
