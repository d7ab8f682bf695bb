# For a decoder that decides itself: the same, since the model's own decision is what counts.
_base_ = './decoder.py'
