"""The data plane: chunks, copy paths, verification and the lane attempt."""
