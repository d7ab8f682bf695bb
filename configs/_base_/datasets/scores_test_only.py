# Cached scores where there is no validation part. A leaf names the data set's folder.
_base_ = './openclipart_cached.py'

val_dataloader = None
