"""Settings from the environment: kinds of values, how they are loaded and checked, how they are told. No Flask here.

`config.py` declares the variables themselves.
"""
