# ResNet-18 with torchvision's weights.
backbone = dict(type='ResNet', depth=18, num_stages=4, out_indices=(3,), style='pytorch')
pretrained = dict(type='Pretrained', checkpoint='torchvision://resnet18')
in_channels = 512
