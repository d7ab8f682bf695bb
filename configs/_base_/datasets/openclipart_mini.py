# The slice of Open Clip Art that the repository holds: 41 labels, 128 px; see
# tests/data/openclipart_mini/README.md.
_base_ = './openclipart_128px.py'

data_root = '{{ fileDirname }}/../../../tests/data/openclipart_mini/'
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = dict(dataset=dict(data_root=data_root))
