"""MoI for TensorRT-LLM's PyTorch backend, through its public extension points only.

    SamplingParams.logits_processor   brings a request's settings to its worker
    register_auto_model               replaces a model class by one whose generation rows take mixtures
    AttentionBackend.Metadata         replaced by a subclass: tells the rows of each step, outside of CUDA graphs
    --custom_module_dirs              imports the registration, which goes with the classes into every worker

Nothing is registered on import; TensorRT-LLM itself is imported by the functions that need it.
"""

from pathlib import Path

from moi_tensorrt_llm.compatibility import refuse_arguments
from moi_tensorrt_llm.contract import check_contract
from moi_tensorrt_llm.processor import MoILogitsProcessor, logits_processors


def custom_module_dir() -> Path:
    """What to pass to --custom_module_dirs."""
    return Path(__file__).parent / "custom_module" / "moi_tensorrt_llm_register"


__all__ = ["MoILogitsProcessor", "check_contract", "custom_module_dir", "logits_processors", "refuse_arguments"]
