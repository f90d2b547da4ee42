"""MoI for TensorRT: the plugin moi::MixEmbed, and what it needs of CUDA. `moi_compile` makes engines with it.

Nothing is registered, loaded or compiled on import.

    import tensorrt, moi_tensorrt
    moi_tensorrt.register()          # before parsing an ONNX graph with moi nodes
"""

from moi_tensorrt.kernels import compile_kernel
from moi_tensorrt.plan import Launch, launch
from moi_tensorrt.plugin import register

__all__ = ["Launch", "compile_kernel", "launch", "register"]
