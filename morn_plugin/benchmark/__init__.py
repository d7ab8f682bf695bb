"""Turns the stored predictions of many methods into figures, statistics and a page.

Nothing here trains or needs torch: the files of finished runs are enough to rebuild a page.

- ``results``: the results of one run, and their files.
- ``figures``: the decisions that every method is evaluated by, and the columns of each.
- ``statistics``: spread over seeds, differences to a reference, intervals, corrected p-values.
- ``claims``: the sentences that follow from these.
- ``tables``, ``plots``, ``page``: the layout.

N images, C labels, T steps, S seeds.
"""
