"""The version of the package: that of the Drip it was made with."""

__all__ = ["__version__"]

__version__ = "0.2.0"
