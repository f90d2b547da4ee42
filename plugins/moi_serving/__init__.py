"""The backend-abstraction layer: what plugins of serving hosts share. It imports no host.

settings, mixing_marks   what a server and a request may set, and where a request stops to mix
row_layout               one packed row: the mixture that a sampled token is fed as
slots                    such rows by request slot, in torch, Numba or Triton
pending                  mixtures whose token comes with a later step
replay, telemetry        what the host keeps of generated tokens, and says of them
metrics                  what it counts
embedding                mixing through a host's embedding
contract, compatibility  what a plugin relies on in its host, and what of it does not go with mixing
"""
