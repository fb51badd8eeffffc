"""An automated hyperparameter-robustness benchmark for attention methods."""

__version__ = "0.1.0"
