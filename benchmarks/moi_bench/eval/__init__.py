"""Where version 0.1 had evaluations; they are in `moi_eval` now, and these names go on working."""
