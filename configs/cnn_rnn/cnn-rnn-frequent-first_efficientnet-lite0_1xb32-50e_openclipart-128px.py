# Second stage on the whole of Open Clip Art; its decoder comes faster from cached scores.
_base_ = [
    '../_base_/models/efficientnet-lite0_cnn-rnn.py',
    '../_base_/datasets/openclipart_128px.py',
    '../_base_/evaluation/sequence.py',
    '../_base_/schedules/decoder_rmsprop_50e.py',
    '../_base_/default_runtime.py',
]

model = dict(head=dict(num_classes=72))
