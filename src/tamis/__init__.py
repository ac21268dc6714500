"""tamis: choose the instruction data that is worth training on."""

__version__ = "0.1.0"
