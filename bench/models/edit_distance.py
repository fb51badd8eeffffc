"""Edit distances of what the most probable path of CTC says from what was said, for lanes and captured steps.

Shapes: B utterances, T frames, V symbols of which 0 is the blank, S labels, W words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.lazy import torch
from bench.models.ctc import BLANK

if TYPE_CHECKING:
    from torch import Tensor

_HASH_BASE = 1_000_003  # odd, so that its powers never vanish modulo 2^64


def emissions(log_p_BTV: Tensor, num_frames_B: Tensor) -> tuple[Tensor, Tensor]:
    """The most probable symbol of each frame, and whether it is said there: both (B, T).

    Repeated symbols are said once, blanks never. Source: Graves et al. 2006, Sec. 3.1 and 3.2 (best path decoding).
    """
    path_BT = log_p_BTV.argmax(dim=-1)
    before_BT = torch.cat([torch.full_like(path_BT[:, :1], BLANK), path_BT[:, :-1]], dim=1)
    is_inside_BT = torch.arange(path_BT.shape[1], device=path_BT.device) < num_frames_B[:, None]
    return path_BT, (path_BT != BLANK) & (path_BT != before_BT) & is_inside_BT


def edit_distance(tokens_BT: Tensor, are_said_BT: Tensor, wanted_BS: Tensor, num_wanted_B: Tensor) -> Tensor:
    """Least number of insertions, deletions and substitutions between what is said and what is wanted, int64 (B,).

    A column of distances over frames for each wanted token, so that nothing is moved together: a frame that says
    nothing has the distance of the frame before. Source: Wagner & Fischer 1974.
    """
    num_said_BT = torch.nn.functional.pad(are_said_BT.long().cumsum(dim=1), (1, 0))  # after 0, 1, ... T frames
    column_BT = num_said_BT
    last = [column_BT[:, -1]]
    nothing = torch.iinfo(torch.int64).max // 2
    for wanted_B in wanted_BS.unbind(1):
        differs_BT = (tokens_BT != wanted_B[:, None]).long()
        matched_BT = torch.where(are_said_BT, column_BT[:, :-1] + differs_BT, nothing)
        best_BT = torch.cat([column_BT[:, :1] + 1, torch.minimum(matched_BT, column_BT[:, 1:] + 1)], dim=1)
        column_BT = (best_BT - num_said_BT).cummin(dim=1).values + num_said_BT
        last.append(column_BT[:, -1])
    return torch.stack(last, dim=1).gather(1, num_wanted_B[:, None])[:, 0]


def words(tokens_BT: Tensor, are_said_BT: Tensor, space: int) -> tuple[Tensor, Tensor]:
    """A number for the word that ends at each place, and whether one ends there: both (B, T + 1).

    Words stand between spaces; a word's number is that of its symbols in order, modulo 2^64, so that two words have one
    number with a probability of some 1e-19.
    """
    letters_BT = torch.nn.functional.pad(are_said_BT & (tokens_BT != space), (0, 1))
    ends_BT = torch.nn.functional.pad(are_said_BT & (tokens_BT == space), (0, 1), value=True)
    powers = torch.full_like(tokens_BT[0, :1], _HASH_BASE).expand(tokens_BT.shape[1] + 2).cumprod(dim=0)
    count_BT = letters_BT.long().cumsum(dim=1)
    begun_BT = _at_the_end_before(count_BT, ends_BT)
    symbols_BT = torch.nn.functional.pad(tokens_BT, (0, 1))
    numbers_BT = torch.where(letters_BT, symbols_BT * powers[(count_BT - begun_BT).clamp_min(0)], 0).cumsum(dim=1)
    in_word_BT = numbers_BT - _at_the_end_before(numbers_BT, ends_BT)
    return in_word_BT, ends_BT & (count_BT > begun_BT)


def _at_the_end_before(sums_BT: Tensor, ends_BT: Tensor) -> Tensor:
    """What a running sum was at the last end before each place; 0 before the first."""
    place = torch.arange(sums_BT.shape[1], device=sums_BT.device)
    last_BT = torch.where(ends_BT, place, -1).cummax(dim=1).values
    before_BT = torch.nn.functional.pad(last_BT[:, :-1], (1, 0), value=-1)
    return torch.where(before_BT >= 0, sums_BT.gather(1, before_BT.clamp_min(0)), 0)


def label_errors(log_p_BTV: Tensor, labels_BS: Tensor, num_frames_B: Tensor, num_labels_B: Tensor) -> Tensor:
    """Edit distance of the most probable path from the labels, int64 (B,)."""
    return edit_distance(*emissions(log_p_BTV, num_frames_B), labels_BS, num_labels_B)


def word_errors(
    log_p_BTV: Tensor, labels_BS: Tensor, num_frames_B: Tensor, num_labels_B: Tensor, *, space: int
) -> tuple[Tensor, Tensor]:
    """Edit distance in words of the most probable path from the labels, and the number of words: int64 (B,) both."""
    are_labels_BS = torch.arange(labels_BS.shape[1], device=labels_BS.device) < num_labels_B[:, None]
    said_BT, wanted_BS = (
        words(*tokens, space) for tokens in (emissions(log_p_BTV, num_frames_B), (labels_BS, are_labels_BS))
    )
    num_words_B = wanted_BS[1].sum(dim=1)
    first_BW = (~wanted_BS[1]).long().sort(dim=1, stable=True).indices[:, : (labels_BS.shape[1] + 1) // 2]
    wanted_BW = wanted_BS[0].gather(1, first_BW)
    return edit_distance(*said_BT, wanted_BW, num_words_B), num_words_B
