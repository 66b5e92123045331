"""Many runs wanted together: which they are (words, a file), what of them is missing, and where they are trained.

What chooses and shows needs no torch; only `worker`, which trains, imports it.
"""
