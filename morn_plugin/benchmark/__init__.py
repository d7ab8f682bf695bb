"""From stored predictions of many methods to figures, statistics and a page.

Nothing here trains, and nothing needs torch: a page is made anew from the files that runs left.

- ``results``: what one run leaves, and its files.
- ``figures``: three decisions for everybody, and the columns of each.
- ``statistics``: spread over seeds, differences to a reference, intervals, corrected p-values.
- ``claims``: the sentences that follow from these.
- ``tables``, ``plots``, ``page``: how all of it is laid out.

N images, C labels, T steps, S seeds.
"""
