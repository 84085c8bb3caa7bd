"""What an architecture costs: counted, measured, and as a file that others can run."""

from archsearch.hardware.count import activation_mib, count
from archsearch.hardware.device import device_name, found_device
from archsearch.hardware.export import Deployed, export_onnx
from archsearch.hardware.measure import measure
from archsearch.hardware.memory import MEBIBYTE, peak_memory

__all__ = [
    "MEBIBYTE", "Deployed", "activation_mib", "count", "device_name", "export_onnx", "found_device", "measure",
    "peak_memory",
]  # fmt: skip
