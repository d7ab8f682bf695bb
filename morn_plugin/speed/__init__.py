"""Measures the speed of the label decoder, and checks a GPU.

- ``plain_decoder``: the decoder in plain PyTorch, the peer of every measurement.
- ``steps``: training steps of the decoder and of its peers, at any size and on any device.
- ``release_in_tensorflow``: the step of the authors' release, another peer.
- ``timing``: measurements in turn, and tables of them.
- ``machine``: what was measured on, and whether it was idle.
- ``checks``: one check after the other within a time, and a report of all.
- ``gpu_decoder``, ``gpu_cnn``, ``gpu_runs``: the checks of ``tools/analysis/gpu_check.py``.

N images, C labels, H cells, M embedding width, T steps.
"""
