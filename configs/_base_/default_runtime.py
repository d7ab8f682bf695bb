# What every run has: registration, hooks, logging, seed.
custom_imports = dict(imports=['morn_plugin'], allow_failed_imports=False)
default_scope = 'mmpretrain'

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='TimedLoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='ResumableCheckpointHook',
        interval=1,
        max_keep_ckpts=2,
        save_best='per-image/f1-score',
        rule='greater',
    ),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    exact_resume=dict(type='ExactResumeHook'),
    prepare_decoder=dict(type='PrepareDecoderHook'),
    finite_loss=dict(type='FiniteLossHook'),
    data_check=dict(type='DataCheckHook'),
    checkpoint_check=dict(type='CheckpointCheckHook'),
    calibration=dict(type='CalibrationHook'),
    paper_table=dict(type='PaperTableHook', rows=None),  # named by the decoder
    visualization=dict(type='PredictionVisualizationHook', enable=False),  # by --show-dir
)
# How test.py --tta, ours and MMPretrain's, puts the views of an image together.
tta_model = dict(type='AverageScoresTTA')

env_cfg = dict(cudnn_benchmark=False, mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0))
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='UniversalVisualizer', vis_backends=vis_backends)
log_level = 'INFO'
load_from = None
resume = False
randomness = dict(seed=0)
