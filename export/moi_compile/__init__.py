"""From an exported folder to a TensorRT or TensorRT-RTX engine, and its checks when one is loaded.

    folder, compiled = Path("model-onnx"), Path("model-onnx/model.engine")
    compile_engine(folder, compiled, CompileOptions("tensorrt-rtx", ("8.9",)))

Nothing is loaded or compiled on import.
"""

from moi_compile.compile import CompileOptions, compile_engine
from moi_compile.runtimes import RUNTIMES
from moi_compile.sidecar import Profile, Sidecar, read_sidecar

__all__ = ["RUNTIMES", "CompileOptions", "Profile", "Sidecar", "compile_engine", "read_sidecar"]
