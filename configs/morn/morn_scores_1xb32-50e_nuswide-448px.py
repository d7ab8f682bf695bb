# Second stage on the scores of the first, as for MS-COCO.
_base_ = './morn_scores_1xb32-50e_coco-448px.py'

data_root = '{{ fileDirname }}/../../data/nuswide/'
model = dict(head=dict(num_classes=81))
train_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = dict(dataset=dict(data_root=data_root))
