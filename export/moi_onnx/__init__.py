"""ONNX: Mixture of Inputs as functions, and whole decode steps of Hugging Face decoders.

    export.py       model folder -> ONNX folder            command.py    `moi export`
    ops.py          mix and embed as torch modules          sampling.py   the sampler as a torch module
    functions.py    modules -> ONNX functions               step.py       one decode step as a torch module
    caches.py       static and concatenated key/value cache graph.py      step -> ONNX graph
    manifest.py     moi_config.json                         folder.py     all or nothing on the disk
    tensors.py      is a graph what its manifest says?
    subset.py       what TensorRT's parser would refuse     selfcheck.py  tokens against the torch engine

Only `command`, `export` and `selfcheck` know engines; the rest imports `moi` and ONNX tools.
"""
