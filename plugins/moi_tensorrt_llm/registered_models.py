"""The mixed model classes, registered with TensorRT-LLM when this module is imported.

Workers get the launching process's classes by pickle or by the name of their module, as the version has it. Both ways
the worker imports this module, where the classes live under their own names, and thereby registers them.
"""

import os

from moi_tensorrt_llm import http_settings
from moi_tensorrt_llm.registration import mixed_models, register

for _name, _class in mixed_models().items():
    globals()[_name] = register(_name, _class)
    if os.environ.get(http_settings.VARIABLE) == "1":
        http_settings.take_settings([globals()[_name]])
