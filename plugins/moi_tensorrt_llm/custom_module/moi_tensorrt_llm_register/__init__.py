"""What --custom_module_dirs imports in the launching process: it registers the models there, and so in the workers."""

from moi_tensorrt_llm.registration import register_models

register_models()
