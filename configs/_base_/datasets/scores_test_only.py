# Cached scores where there is no validation part. A leaf names the data set's folder.
_base_ = './openclipart_scores.py'

val_dataloader = None
