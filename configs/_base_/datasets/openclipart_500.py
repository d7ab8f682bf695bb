# About 500 training images of Open Clip Art, evenly spaced, for comparisons with few images.
_base_ = './openclipart_128px.py'

train_dataloader = dict(dataset=dict(indices=list(range(0, 3482, 7))))
