"""archsearch: neural architecture search on Kubernetes. This package is the part that knows no cluster."""

__version__ = "0.1.0"
