"""Runs many methods on a data set and stores the results that the page is made from.

- ``source``: the data set, a converter's folder or a config.
- ``methods``: the available methods, and the choice among them.
- ``plan``: the planned runs, their time, and what is cut if time is short.
- ``probing``: the time of an iteration.
- ``cnn``: training a CNN, and caching its outputs for the methods.
- ``inputs``: the CNN of each seed, and its files.
- ``cell``: one run of one method on such files; ``joint``: of a method that trains the CNN.
- ``search``: which settings are tried, and which are best.
- ``stages``: parallel runs, until time is up.
- ``records``: the finished steps, and their settings.
- ``groups``: the tables of the page.
- ``bench``: all of it, in order.

N images, C labels, D features.
"""
