"""Pooling of tokens.

N images, L tokens, D features.
"""

from mmpretrain.registry import MODELS
from torch import Tensor, nn

MODES = ('first', 'mean')


@MODELS.register_module()
class TokenPooling(nn.Module):
    """Takes the class token, or the mean of the image's tokens.

    For backbones that return all tokens (N, L, D): timm's vision transformers and mixers in
    ``TIMMBackbone``, and MMPretrain's ``VisionTransformer`` with ``out_type='raw'``.

    Args:
        mode: ``'first'``, the class token; or ``'mean'`` over all tokens after the prefix.
        num_prefix_tokens: Number of tokens before those of the image (class, distillation,
            registers), which ``'mean'`` leaves out: ``timm_model.num_prefix_tokens``. 0 for a model
            without a class token.

    Raises:
        ValueError: If an argument is out of its range, or there is no class token.
    """

    def __init__(self, mode: str = 'first', num_prefix_tokens: int = 1) -> None:
        super().__init__()
        if mode not in MODES:
            raise ValueError(f'Expected `mode` to be one of {MODES}, but got {mode!r}.')
        if num_prefix_tokens < 0:
            raise ValueError(
                f'Expected `num_prefix_tokens` to be at least 0, but got {num_prefix_tokens}.'
            )
        if mode == 'first' and num_prefix_tokens == 0:
            raise ValueError(
                "mode='first' takes the class token, but num_prefix_tokens=0 says that there is "
                "none: write mode='mean'."
            )

        self.mode = mode
        self.num_prefix_tokens = num_prefix_tokens

    def forward(self, feats: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Pool each stage.

        Args:
            feats: The stages, each (N, L, D).

        Returns:
            Each as (N, D).

        Raises:
            ValueError: If a stage has a different shape, or no image tokens.
        """
        return tuple(self._pool(tokens) for tokens in feats)

    def _pool(self, tokens: Tensor) -> Tensor:
        if tokens.dim() != 3 or tokens.shape[1] <= self.num_prefix_tokens:
            raise ValueError(
                f'TokenPooling expected tokens (N, L, D) with more than {self.num_prefix_tokens} '
                f'of them, but got {tuple(tokens.shape)}.'
            )
        if self.mode == 'first':
            return tokens[:, 0]
        return tokens[:, self.num_prefix_tokens :].mean(1)  # (N, D)
