"""From a data set to the stored results of many methods; the page is made from these.

- ``source``: the data set, a converter's folder or a config.
- ``methods``: which methods there are, and which are chosen.
- ``plan``: which runs that makes, how long they take, and what is left out for want of time.
- ``probing``: how long an iteration takes.
- ``cnn``: how a CNN is trained, and what it leaves for the methods.
- ``inputs``: the CNN of each seed, and its files.
- ``cell``: one run of one method on such files; ``joint``: of one that trains the CNN.
- ``search``: which settings are tried, and which are best.
- ``stages``: runs side by side, until time is up.
- ``records``: what is done already, and with which settings.
- ``groups``: the tables of the page.
- ``bench``: all of it, in order.

N images, C labels, D features.
"""
