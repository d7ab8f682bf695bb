"""The authors' fixtures: what their own code computed, with our decoder under the release's options."""

from functools import partial

import numpy as np
import pytest
import torch
from helpers import NETWORKS, close, load_golden, under
from mmpretrain.registry import MODELS

from morn_plugin.models import decoder_from_release, masked_stepwise_bce
from morn_plugin.models.label_decoders.release import RELEASE_OPTIONS

OUR_LINEAR = {
    'init_h': 'initial_lstm/{}_ph',
    'init_c': 'initial_lstm/{}_pc',
    'hidden': 'logits/{}_h',
    'output': 'logits/{}_out',
}
VARIANTS = [
    (mask, steps, flag)
    for mask in ('cumulative', 'previous', 'none')
    for steps, flag in (('num_labels', 1), ('all', 0))
]


@pytest.fixture(params=NETWORKS)
def golden(request):
    return load_golden(request.param)


def build(golden, **options):
    return decoder_from_release(
        under(golden, 'var/'), num_steps=int(golden['shape_N_C_H_M_T'][-1]), **options
    )


def tensors(golden, *names):
    return [torch.tensor(golden[name]) for name in names]


def release_layout(values):
    """Lay out values under our parameters' names, such as gradients, as the release names and shapes its variables."""
    values = {name: value.to_dense() for name, value in values.items()}
    # i, f, o, j -> i, j, f, o
    tf_gates = lambda rows: torch.cat([rows.chunk(4)[gate] for gate in (0, 3, 1, 2)])
    kernel = torch.cat([values['weight_ih'], values['weight_hh']], dim=1)

    named = {
        'init_prob_batch_norm/gamma': values['state_norm.weight'],
        'init_prob_batch_norm/beta': values['state_norm.bias'],
        'word_embedding/w': values['embedding.weight'],
        'lstm/basic_lstm_cell/kernel': tf_gates(kernel).t(),
        'lstm/basic_lstm_cell/bias': tf_gates(values['bias']),
    }
    for ours, theirs in OUR_LINEAR.items():
        named |= {
            theirs.format('w'): values[f'{ours}.weight'].t(),
            theirs.format('b'): values[f'{ours}.bias'],
        }

    return {f'cnn_rnn_att/{name}': value for name, value in named.items()}


def test_training_graph(golden):
    decoder = build(golden).train()
    scores, target = tensors(golden, 'init_prob', 'labels')
    step_logits, step_labels = decoder(scores)
    close(step_logits, golden['train_step_logits'])
    close(step_logits.amax(1), golden['train_logits'])
    assert step_labels.tolist() == golden['train_argmax'].tolist()
    close(decoder.step_loss(step_logits, step_labels, target), golden['loss'])


def test_gradients(golden):
    decoder = build(golden).train()
    decoder.loss(*tensors(golden, 'init_prob', 'labels'))['loss_multi_order'].backward()
    ours = release_layout({name: parameter.grad for name, parameter in decoder.named_parameters()})
    expected = under(golden, 'grad/')
    assert ours.keys() == expected.keys()
    for name, grad in expected.items():
        close(ours[name], grad)


def test_batch_norm_statistics_after_one_update(golden):
    decoder = build(golden).train()
    decoder(*tensors(golden, 'init_prob'))
    close(decoder.state_norm.running_mean, golden['bn_after_one_update/moving_mean'])
    close(decoder.state_norm.running_var, golden['bn_after_one_update/moving_variance'])


def test_test_graph(golden):
    decoder = build(golden).eval()
    (scores,) = tensors(golden, 'init_prob')
    with torch.no_grad():
        step_logits, step_labels = decoder(scores)
        prediction = decoder.predict(scores)

    assert step_labels.tolist() == golden['sampled_captions'].tolist()
    close(step_logits.sigmoid(), golden['pred_time'])
    close(prediction['step_scores'], golden['pred_time'])
    close(prediction['pred_score'], golden['prediction'])
    masked = torch.stack(
        [step_logits[:, t].scatter(1, step_labels[:, :t], -9.0) for t in range(decoder.num_steps)],
        1,
    )
    close(masked, golden['sampler_masked_logits'])


def test_a_label_repeats_where_all_logits_are_below_minus_nine():
    golden = load_golden('edge_neg9_N8_C6_H8_M6_T5')
    _, labels = build(golden).eval()(*tensors(golden, 'init_prob'))
    assert any(len(set(row)) < len(row) for row in labels.tolist())


@pytest.mark.parametrize(('mask', 'steps', 'flag'), VARIANTS)
def test_loss_variants_in_float64(golden, mask, steps, flag):
    decoder = build(golden).double().train()
    decoder.step_loss = partial(masked_stepwise_bce, mask=mask, steps=steps)
    scores, target = tensors(golden, 'init_prob', 'labels')
    loss = decoder.loss(scores.double(), target)['loss_multi_order']
    close(loss, golden[f'np64_loss/mask={mask},length_mask={flag}'], 1e-10)


def test_test_time_without_masking_in_float64(golden):
    decoder = build(golden).double().eval()
    decoder.test_feedback = 'argmax'
    prediction = decoder.predict(torch.tensor(golden['init_prob']).double())
    expected = under(golden, 'np64_unmasked_sampler/')
    assert prediction['step_labels'].tolist() == expected['sampled_captions'].tolist()
    close(prediction['step_scores'], expected['pred_time'], 1e-10)
    close(prediction['pred_score'], expected['prediction'], 1e-10)


def test_the_config_of_the_release_gives_the_same_decoder():
    golden = load_golden('tiny_N4_C5_H8_M6_T3')
    num_classes, hidden, embed, steps = golden['shape_N_C_H_M_T'][1:].tolist()
    head = MODELS.build(
        dict(
            type='MultiOrderLSTMHead',
            num_classes=num_classes,
            in_channels=3,
            embed_dims=embed,
            hidden_dims=hidden,
            num_steps=steps,
            loss=dict(type='MaskedStepwiseBCELoss', mask='cumulative', steps='num_labels'),
            **RELEASE_OPTIONS,
        )
    )
    head.decoder.load_state_dict(build(golden).state_dict())
    loss = head.decoder.train().loss(*tensors(golden, 'init_prob', 'labels'))['loss_multi_order']
    close(loss, golden['loss'])


def test_options_of_the_release():
    decoder = build(load_golden('tiny_N4_C5_H8_M6_T3'))
    assert decoder.training
    assert (decoder.num_classes, decoder.hidden_dims, decoder.embed_dims, decoder.num_steps) == (
        5,
        8,
        6,
        3,
    )
    assert (decoder.test_feedback, decoder.picked_logit, decoder.pooling) == (
        'unpicked',
        -9.0,
        'max',
    )
    assert decoder_from_release(under(load_golden('tiny_N4_C5_H8_M6_T3'), 'var/')).num_steps == 5


def test_slots_of_the_optimiser_are_left_aside():
    variables = under(load_golden('tiny_N4_C5_H8_M6_T3'), 'var/')
    slots = {f'{name}/RMSProp': np.zeros_like(array) for name, array in variables.items()}
    assert decoder_from_release({**variables, **slots, 'global_step': np.array(7)}).num_classes == 5


def test_a_missing_variable_is_named():
    variables = dict(under(load_golden('tiny_N4_C5_H8_M6_T3'), 'var/'))
    del variables['cnn_rnn_att/logits/w_out']
    with pytest.raises(KeyError, match='cnn_rnn_att/logits/w_out'):
        decoder_from_release(variables)


@pytest.mark.parametrize('name', sorted(under(load_golden('tiny_N4_C5_H8_M6_T3'), 'var/')))
def test_a_variable_of_another_shape_is_named(name):
    variables = dict(under(load_golden('tiny_N4_C5_H8_M6_T3'), 'var/'))
    variables[name] = variables[name][:-1]
    # the first array sizes the others: where it is cut, the next one read does not fit
    read_after = {'cnn_rnn_att/initial_lstm/w_ph': 'word_embedding/w'}
    with pytest.raises(ValueError, match=read_after.get(name, name)):
        decoder_from_release(variables)
