# A label decoder alone, on cached inputs of a CNN; a leaf adds head=dict(decoder=dict(type=...)).
model = dict(type='ScoreClassifier', head=dict(type='DecisionHead', num_classes=80, decoder=dict()))
