"""Omega, the share of membrane potentials inside the surrogate's window (MPD-SGR, Eq. 10-15).

`overlap` and its gradients take the mean and standard deviation of v = u - v_th;
`membrane_moments` (Theorem 1) gives those of u itself: subtract v_th from its mean first.

Python numbers compute in float64 unless an array or tensor beside them fixes the precision;
float16 and bfloat16 compute, and return, in float32.
"""

from keras_mpdsgr.overlap.gaussian import overlap, overlap_gradients, scale_free_overlap
from keras_mpdsgr.overlap.moments import membrane_moments

__all__ = ["membrane_moments", "overlap", "overlap_gradients", "scale_free_overlap"]
