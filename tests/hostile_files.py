"""Checkpoints as a stranger could write them, by kind, made from a sound one."""

import copy
import resource
import time
from contextlib import contextmanager
from pathlib import Path

import torch

MARK = 'A_HOSTILE_FILE_RAN'
MODULE = 'hostile_module'
# Imports of it, calls of it and what it names all leave the mark.
CODE = f"""
from pathlib import Path
Path({MARK!r}).touch()
def call(*args, **kwargs):
    Path({MARK!r}).touch()
"""
SECONDS = 10
KILOBYTES = 2_000_000
RUN = dict(type='subprocess.run', args=['touch', MARK])
CALL = f'{MODULE}.call'
RESNET = dict(type='ResNet', depth=18, base_channels=8)
POOL = dict(type='GlobalAveragePooling')
HEAD = dict(type='MultiLabelLinearClsHead', num_classes=41, in_channels=64)
LOAD = dict(type='LoadCheckedImage')
EVAL = f'__name__ + str(open({MARK!r}, "w"))'


@contextmanager
def in_bounds():
    """Require that what is done takes no more than ten seconds of a processor and 2 GB."""
    start = time.process_time()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert time.process_time() - start < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < KILOBYTES


def lay_out(folder, monkeypatch):
    """Work in a folder where Python finds a module that leaves a mark, as do all calls of it."""
    monkeypatch.chdir(folder)
    (folder / f'{MODULE}.py').write_text(CODE)
    monkeypatch.syspath_prepend(str(folder))


def model(**parts):
    """A line that replaces the model of a config."""
    return f'model = {dict(type="ImageClassifier", backbone=RESNET, neck=POOL, head=HEAD) | parts}'


def backbone(**settings):
    return model(backbone=RESNET | settings)


def timm(**settings):
    return model(backbone=dict(type='TIMMBackbone', model_name='resnet10t') | settings)


def data(loader='test_dataloader', **settings):
    """A line that replaces a data loader's data set."""
    usual = dict(type='CheckedMultiLabelDataset', ann_file='a.json', pipeline=[LOAD])
    return f'{loader} = {dict(dataset=usual | settings)}'


def pipeline(*steps):
    return data(pipeline=[LOAD, *steps])


def nest(levels, inner='1'):
    return '[' * levels + inner + ']' * levels


# Lines to follow a sound config, each with what the error must say.
TYPES = {
    'model': (f'model = {RUN}', 'model.type'),
    'backbone': (model(backbone=RUN), 'backbone.type'),
    'neck': (model(neck=RUN), 'neck.type'),
    'head': (model(head=RUN), 'head.type'),
    'loss': (model(head=HEAD | dict(loss=RUN)), 'loss.type'),
    'norm_cfg': (backbone(norm_cfg=RUN), 'norm_cfg.type'),
    'a list in the model': (backbone(plugins=[dict(cfg=RUN)]), r'plugins\[0\].cfg.type'),
    'preprocessor': (model(data_preprocessor=RUN), 'data_preprocessor.type'),
    'preprocessor beside': (f'data_preprocessor = {RUN}', 'data_preprocessor.type'),
    'augments': (model(train_cfg=dict(augments=[RUN])), r'augments\[0\].type'),
    'transform': (pipeline(RUN), r'pipeline\[1\].type'),
    'first transform': (data(pipeline=[RUN]), r'pipeline\[0\].type'),
    'transform in another': (
        pipeline(dict(type='RandomApply', transforms=[RUN])),
        r'transforms\[0\].type',
    ),
    'data set': (f'test_dataloader = dict(dataset={RUN})', 'dataset.type'),
    'data set in another': (
        f'test_dataloader = dict(dataset=dict(type="RepeatDataset", times=2, dataset={RUN}))',
        'dataset.dataset.type',
    ),
    'training data': (f'train_dataloader = dict(dataset={RUN})', 'train_dataloader.dataset.type'),
    'sampler': (f'val_dataloader = dict(sampler={RUN})', 'sampler.type'),
    'collate_fn': (f'test_dataloader = dict(collate_fn={RUN})', 'collate_fn.type'),
    'hook': (f'custom_hooks = [{RUN}]', r'custom_hooks\[0\].type'),
    'default hook': (f'default_hooks = dict(checkpoint={RUN})', 'default_hooks.checkpoint.type'),
    'visualizer': (f'visualizer = dict(vis_backends=[{RUN}])', 'vis_backends'),
    'evaluator': (f'test_evaluator = [{RUN}]', r'test_evaluator\[0\].type'),
    'optimizer': (f'optim_wrapper = dict(optimizer={RUN})', 'optimizer.type'),
    'scheduler': (f'param_scheduler = [{RUN}]', 'param_scheduler'),
    'loop': (f'train_cfg = {RUN}', 'train_cfg.type'),
    "a setting of one's own": (f'anything = [[{{"deep": ({RUN},)}}]]', 'anything'),
}
NAMES = {
    'os.system': (model(backbone=dict(type='os.system', command=f'touch {MARK}')), 'os.system'),
    'builtins.eval': (model(backbone=dict(type='builtins.eval')), 'builtins.eval'),
    'a module': (model(backbone=dict(type=MODULE)), MODULE),
    'a function of a module': (model(backbone=dict(type=CALL)), MODULE),
    'a module as a scope': (model(backbone=dict(type=f'{MODULE}.ResNet')), MODULE),
    'a scope and a module': (model(backbone=dict(type=f'mmpretrain.{MODULE}.call')), MODULE),
    'a function of the host': (model(backbone=dict(type='mmpretrain.get_model')), 'get_model'),
    'a method of the host': (model(backbone=dict(type='mmengine.Config.fromfile')), 'fromfile'),
    'a function of ours': (
        model(backbone=dict(type='morn_plugin.engine.checkpoints.load_checkpoint')),
        'load_checkpoint',
    ),
    'a function of torch': (model(backbone=dict(type='torch.load', f='x')), 'torch.load'),
    'a hook as a model': (f'model = dict(type="CheckpointHook", {MODULE}=1)', 'CheckpointHook'),
    'a scope beside': (backbone(_scope_=MODULE), '_scope_'),
    'a default scope': (f'default_scope = {MODULE!r}', 'default_scope'),
    'a number': (backbone(type=5), 'got 5'),
    'a list': (backbone(type=['ResNet']), r"got \['ResNet'\]"),
    'a dict': (backbone(type=dict(type='ResNet')), r'got \{'),
    'bytes': (backbone(type=b'ResNet'), "got b'ResNet'"),
    'nothing': (backbone(type=None), 'got None'),
    'a blank': (backbone(type=' ResNet'), 'got . ResNet'),
    'NUL': (backbone(type='ResNet\0'), 'ResNet'),
    'a dot alone': (backbone(type='.'), r"got '\.'"),
    'dots': (backbone(type='mmpretrain..ResNet'), 'ResNet'),
    '_delete_': (backbone(_delete_=True), '_delete_'),
    '_base_': (backbone(_base_='a.py'), '_base_'),
    'a name that nobody registered': (backbone(type='Nobody'), 'Nobody'),
    'one that downloads': (
        'model = dict(type="HuggingFaceClassifier", model_name="a/b", trust_remote_code=True)',
        'downloads',
    ),
    'one that calls by name': (
        pipeline(dict(type='Albumentations', transforms=[dict(type='load')])),
        'Albumentations',
    ),
    'one that unpickles': (data(type='CIFAR10', data_root='.'), 'unpickles'),
}
# Arguments of registered classes that lead to code, files or addresses.
ARGUMENTS = {
    'a layer looked up by name': (timm(norm_layer=CALL), MODULE),
    'a module looked up by name': (timm(norm_layer=MODULE), MODULE),
    'a weight file': (timm(checkpoint_path='weights.pth'), 'no file'),
    'a repository': (timm(model_name='hf-hub:a/b'), 'no file'),
    'a folder': (timm(model_name='local-dir:/tmp'), 'no file'),
    'an address': (timm(model_name='https://example.org/a'), 'no URL'),
    'settings of weights': (timm(pretrained_cfg=dict(file='weights.pth')), 'no file'),
    'a cache': (timm(cache_dir='cache'), 'no file'),
    'a transform looked up by name': (
        pipeline(dict(type='RandomChoiceResize', scales=[8], resize_type=CALL)),
        MODULE,
    ),
    'an expression': (pipeline(dict(type='torchvision/ConvertImageDtype', dtype=EVAL)), 'dtype'),
    'a backend with a module': (
        pipeline(
            dict(
                type='LoadImageFromFile',
                backend_args=dict(backend='memcached', sys_path='.', server_list_cfg='a'),
            )
        ),
        'backend_args',
    ),
    'a backend of a data set': (data(backend_args=dict(backend='petrel')), 'backend_args'),
    'a pickle': (data(type='BaseDataset', ann_file='a.pkl'), 'ann_file'),
    'YAML': (data(type='MultiLabelDataset', ann_file='a.yaml'), 'ann_file'),
    'an address of data': (data(ann_file='http://example.org/a.json'), 'no URL'),
    'a root elsewhere': (data(data_root='s3://bucket'), 'no URL'),
    'classes in a file': (data(metainfo=dict(classes='/dev/zero')), 'metainfo.classes'),
}
IMPORTS = {
    name: (f'custom_imports = {value!r}', 'custom_imports')
    for name, value in {
        'a module': dict(imports=[MODULE]),
        'a module as text': dict(imports=MODULE),
        'text': 'this',
        'a list': [MODULE],
        'a number': 5,
        'numbers': dict(imports=[5]),
        'no imports': dict(modules=[MODULE]),
        'a path': dict(imports=[f'morn_plugin/../{MODULE}']),
        'one level up': dict(imports=[f'morn_plugin..{MODULE}']),
        'a module like ours': dict(imports=['morn_plugin_evil']),
        'an operating system': dict(imports=['os', 'subprocess']),
        'nothing of ours': dict(imports=['morn_plugin.nothing'], allow_failed_imports=False),
        'NUL': dict(imports=['morn_plugin.\0']),
    }.items()
}
# Whole texts in place of the config.
TEXTS = {
    'a number': (5, '`cfg`: expected a valid string'),
    'bytes': (b'model = 1', '`cfg`: expected a valid string'),
    'a dict': (dict(model=1), '`cfg`: expected a valid string'),
    'empty': ('', 'no settings'),
    'a comment': ('# nothing', 'no settings'),
    'unbalanced': ('model = dict(', 'never closed'),
    'NUL': ('model = 1\0', 'null bytes'),
    'half a character': ("model = '\ud800'", 'expected a config'),
    'an import': ('import os', 'line 1 is: import os'),
    'a call': (f'model = open({MARK!r}, "w")', 'plain values'),
    'a call of a method': ('model = "{}".format(1)', 'plain values'),
    'a lambda': ('model = lambda: 1', 'plain values'),
    'a comprehension': ('model = [x for x in (1, 2)]', 'plain values'),
    'a formatted string': ('model = f"{1}"', 'plain values'),
    'an assignment in a value': ('model = (a := 1)', 'plain values'),
    'a loop': ('while True: pass', 'plain values'),
    'a function': ('def model(): pass', 'plain values'),
    'two names at once': ('model = other = 1', 'plain values'),
    'an attribute': ('model.type = "ResNet"', 'plain values'),
    'another dict': ('model = dict(5)', 'plain values'),
    'a list as a key': ('model = {[]: 1}', 'plain values'),
    'minus a text': ('model = -"a"', 'plain values'),
    'a power': ('model = 9 ** 9 ** 9', 'plain values'),
    'a long text': ('model = "a" * 10 ** 10', 'plain values'),
    'a number of many digits': (f'model = {"9" * 100_000}', 'expected a config'),
    'a reserved name': ('filename = 1\nmodel = dict(type="ResNet")', 'reserved'),
    'megabytes': ('a = ' + '[],' * 1_000_000, 'at most 1,000,000 characters'),
    'many lists': ('a = ' + '[],' * 300_000, 'at most 100,000 values'),
    'lists up to the limit': ('a = ' + '[],' * 49_000, 'expected a config with `model`'),
    'a nest': (f'model = {nest(150)}', '`model`: expected'),
    'a deep nest': (f'model = {nest(90_000)}', 'expected a config'),
    'a nest of minus': (f'model = {"-" * 100_000}1', 'expected'),
    'a nest of calls': (f'model = {"dict(a=" * 5_000}1{")" * 5_000}', 'expected a config'),
    'a long sum': (f'model = 1{"+1" * 50_000}', 'expected'),
    'a model of a wrong kind': ('model = 5', '`model`'),
    'a loader of a wrong kind': ('model = dict()\ntest_dataloader = 5', '`test_dataloader`'),
    'hooks of a wrong kind': ('model = dict()\ndefault_hooks = 5', '`default_hooks`'),
    'no model': ('x = 1', 'expected a config with `model`'),
}
# Lines that ask for too much.
GROWTH = {
    'channels': (backbone(base_channels=9_000_000), 'of its weights, but it is larger'),
    'more channels': (backbone(base_channels=10**12), 'base_channels'),
    'layers': (
        model(
            backbone=dict(
                type='VisionTransformer',
                arch=dict(embed_dims=1, num_layers=9_000_000, num_heads=1, feedforward_channels=1),
            )
        ),
        'of its weights, but it is larger|cannot be built',
    ),
    'classes': (model(head=HEAD | dict(num_classes=9_000_000)), 'of its weights, but it is larger'),
    'picture': (pipeline(dict(type='Resize', scale=(10**6, 10**6))), 'scale'),
    'pixels': (data(pipeline=[LOAD | dict(max_pixels=10**15)]), 'max_pixels'),
    'workers': ('test_dataloader = dict(num_workers=100_000)', 'num_workers'),
    'batch': ('test_dataloader = dict(batch_size=10**9)', 'plain values|batch_size'),
    'large batch': ('test_dataloader = dict(batch_size=1000000000)', 'batch_size'),
    'repeats': (data(type='RepeatDataset', times=10**9), 'times'),
}


def shared_nest(levels=40):
    items = ['cat']
    for _ in range(levels):
        items = [items] * 10
    return items


def circle():
    items = []
    items.append(items)
    return items


WEIGHT = 'head.fc.weight'
BIAS = 'head.fc.bias'
# Changes of a sound checkpoint.
CONTENTS = {
    'meta is a list': (dict(meta=[1]), '`meta`: expected named fields'),
    'meta is text': (dict(meta='x'), '`meta`: expected named fields'),
    'state_dict is a list': (dict(state_dict=[1]), '`state_dict`: expected tensors by name'),
    'state_dict is text': (dict(state_dict='x'), '`state_dict`: expected tensors by name'),
    'state_dict is a tensor': (dict(state_dict=torch.zeros(2)), 'expected tensors by name'),
    'state_dict is nothing': (dict(state_dict=None), 'expected tensors by name'),
    'data is a list': (dict(dataset_meta=[]), 'dataset_meta'),
    'classes are text': (dict(classes='cat'), 'classes'),
    'classes are a number': (dict(classes=41), 'classes'),
    'classes are numbers': (dict(classes=list(range(41))), 'classes'),
    'classes are a dict': (dict(classes={'cat': 1}), 'classes'),
    'classes are none': (dict(classes=[]), 'classes'),
    'classes are a shared nest': (dict(classes=shared_nest()), 'nest of shared parts'),
    'classes go in a circle': (dict(classes=circle()), 'refers to itself'),
    'classes are few': (dict(classes=['cat', 'dog']), r'41.*2'),
    'classes look the same': (dict(classes=['cat', 'ca\u200bt']), 'invisible characters'),
    'classes are half characters': (dict(classes=['\ud800']), 'half a character'),
    'a class for the terminal': (dict(classes=['\x1b[2J']), 'control character'),
    'a class of megabytes': (dict(classes=['x' * 5_000_000]), 'characters long'),
    'a weight is text': ({WEIGHT: 'x'}, 'fc.weight.*: expected a tensor'),
    'a weight is a number': ({WEIGHT: 5}, 'fc.weight.*: expected a tensor'),
    'a weight is nothing': ({WEIGHT: None}, 'fc.weight.*: expected a tensor'),
    'a weight is a nest': ({WEIGHT: shared_nest()}, 'nest of shared parts'),
    'a name is a number': ({5: torch.zeros(1)}, 'expected the name of a tensor'),
    'a bias of truth values': ({BIAS: torch.zeros(41, dtype=torch.bool)}, 'real numbers'),
    'a bias of whole numbers': ({BIAS: torch.zeros(41, dtype=torch.long)}, 'real numbers'),
    'a complex bias': ({BIAS: torch.zeros(41, dtype=torch.cfloat)}, 'real numbers'),
    'a sparse bias': ({BIAS: torch.zeros(41).to_sparse()}, 'dense|sparse'),
    'a bias of another shape': ({BIAS: torch.zeros(40)}, 'does not fit'),
    'a bias without dimensions': ({BIAS: torch.zeros(())}, 'does not fit'),
    'a bias of one stored number': ({BIAS: torch.zeros(1).expand(41)}, 'stored'),
    'a huge bias of one number': ({BIAS: torch.zeros(1).expand(1 << 40)}, 'stored'),
    'a bias without numbers': ({BIAS: torch.zeros(41, device='meta')}, 'dense'),
}


def write_checkpoint(path: Path, sound: dict, text=None, **change) -> Path:
    """Write a sound checkpoint with another config text or other content."""
    content = copy.deepcopy(sound)
    if text is not None:
        content['meta']['cfg'] = text

    for name, value in change.items():
        if name in ('meta', 'state_dict'):
            content[name] = value
        elif name == 'dataset_meta':
            content['meta'][name] = value
        elif name == 'classes':
            content['meta']['dataset_meta'][name] = value

    torch.save(content, path)
    return path


def write_weights(path: Path, sound: dict, change: dict) -> Path:
    """Write a sound checkpoint with other weights."""
    content = copy.deepcopy(sound)
    content['state_dict'] = {**content['state_dict'], **change}
    torch.save(content, path)
    return path
