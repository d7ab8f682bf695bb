# Corel5K, 374 words, 224 px: tools/dataset_converters/corel5k.py data/corel5k
_base_ = './openclipart.py'

data_root = '{{ fileDirname }}/../../../data/corel5k/'
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = dict(dataset=dict(data_root=data_root))
