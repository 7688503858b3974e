"""The page of one run or several: what is read, how it is judged, and how it is shown."""
