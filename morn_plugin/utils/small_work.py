"""Computes with one thread where waking the others takes longer than the work."""

import threading

import torch

#: Largest number of elements that an operator has for one thread.
LIMIT = 2**18


class SmallWork:
    """Limits elementwise operators on small tensors to one thread, on entering and until leaving.

    A thread that sleeps takes 50 microseconds to wake up, in which another computes some 100,000
    sigmoids. Matrix products are worth it, so they stay outside. On a GPU nothing changes.

    Only the main thread does so: another thread that starts to compute meanwhile would take over
    its number for good, and those of a server come and go.

    Args:
        numel: Number of elements of the largest tensor.
    """

    def __init__(self, numel: int) -> None:
        self.numel = numel

    def __enter__(self) -> None:
        self.threads = 0
        if torch.compiler.is_compiling():
            return  # the number of elements is then a symbol, which a comparison would fix
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and self.numel <= LIMIT:
            self.threads = torch.get_num_threads()
            torch.set_num_threads(1)

    def __exit__(self, *_: object) -> None:
        if self.threads:
            torch.set_num_threads(self.threads)
