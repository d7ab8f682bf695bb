# The same on the test side, for data sets without a validation part.
_base_ = './decoder_test_only.py'
