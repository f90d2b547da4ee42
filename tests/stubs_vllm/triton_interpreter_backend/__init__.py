"""A backend of Triton for CPUs, as far as vLLM asks for one: kernels are interpreted, and nothing is compiled."""
