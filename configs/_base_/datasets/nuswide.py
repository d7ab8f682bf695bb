# NUS-WIDE, 81 labels: tools/dataset_converters/nuswide.py data/nuswide
_base_ = './448px.py'

data_root = '{{ fileDirname }}/../../../data/nuswide/'
train_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = dict(dataset=dict(data_root=data_root))
