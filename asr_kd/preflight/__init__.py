"""Before a run: what its stages will take, out of a short calibration on this machine."""
