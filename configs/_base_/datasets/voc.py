# PASCAL VOC 2007, 20 labels, difficult ones left out: tools/dataset_converters/voc.py data/voc
_base_ = './448px.py'

data_root = '{{ fileDirname }}/../../../data/voc/'
train_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = dict(dataset=dict(data_root=data_root))
