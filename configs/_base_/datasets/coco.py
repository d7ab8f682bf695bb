# MS-COCO 2014, 80 labels: tools/dataset_converters/coco.py data/coco
_base_ = './448px.py'

data_root = '{{ fileDirname }}/../../../data/coco/'
train_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = dict(dataset=dict(data_root=data_root))
