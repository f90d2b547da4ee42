"""SGLang imports for ten seconds in each of a server's processes, two of them in looking for cycles among modules that
stay."""

import gc

gc.set_threshold(100_000, 50, 50)
