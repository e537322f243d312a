"""What the page shows of scores and tries."""

from __future__ import annotations

import re

from mmsa_suparc.serving import shown
from mmsa_suparc.serving.app import MOST_TRIES, Tried
from mmsa_suparc.serving.prediction import Prediction
from mmsa_suparc.serving.shown import Spread, Try

SIMS = (-1.0, 1.0)


def prediction(score: float, *without: float | None) -> Prediction:
    return Prediction(score, "positive", *without)


def test_both_ends_of_the_scale_and_of_the_bars_are_named() -> None:
    page = shown.score([prediction(0.5, 0.1, 0.7, None)], SIMS)
    for words in ("−1<br>most negative", "+1<br>most positive", "0<br>neutral",
                  "−1<br>more negative", "+1<br>more positive"):  # fmt: skip
        assert words in page
    assert "on a scale from −1, most negative, to +1, most positive" in page
    stars = shown.score([prediction(4.0, None, None, None)], (1.0, 5.0))
    assert "<span>1<br>most negative</span>" in stars
    assert "<span>5<br>most positive</span>" in stars
    assert "<span>3<br>neutral</span>" in stars


def test_what_rounds_to_nothing_has_no_sign() -> None:
    assert [shown.signed(value) for value in (-0.004, 0.004, -0.006, 0.25)] == [
        "0.00", "0.00", "−0.01", "+0.25"
    ]  # fmt: skip


def test_one_seed_has_no_interval() -> None:
    page = shown.score([prediction(0.5, 0.1, 0.7, None)], SIMS)
    assert "seed" not in page
    assert "whisker" not in page
    assert re.findall(r'class="bar (\w+)" style="left:([\d.]+)%;width:([\d.]+)%"', page) == [
        ("up", "50.0", "20.0"), ("down", "40.0", "10.0")
    ]  # fmt: skip
    assert page.count("not used") == 1


def test_several_seeds_have_one() -> None:
    seeds = [prediction(0.5, 0.1, 0.7, None), prediction(0.2, 0.0, 0.5, None),
             prediction(0.6, 0.4, 0.1, None)]  # fmt: skip
    page = shown.score(seeds, SIMS, seed=1111)
    assert "3 seeds from +0.20 to +0.60" in page
    assert "Seed 1111 of the run" in page
    assert '+0.40 <span class="small">(+0.20 to +0.40)' in page
    assert '−0.20 <span class="small">(−0.30 to +0.50)' in page
    assert re.findall(r'class="whisker" style="left:([\d.]+)%;width:([\d.]+)%"', page) == [
        ("60.0", "10.0"), ("35.0", "40.0")
    ]  # fmt: skip


def test_what_lies_beyond_the_scale_is_drawn_at_its_end() -> None:
    page = shown.score([prediction(7.0, -9.0, None, None)], SIMS)
    assert 'class="marker" style="left:100.0%"' in page
    assert 'style="left:50.0%;width:50.0%"' in page
    assert "+16.00" in page


def test_tries_are_kept_in_order_and_not_twice() -> None:
    first = Try("<b>one</b>", "example", ("text", "audio"), 0.5, Spread(0.25, 0.5))
    tried = Tried().with_one(first).with_one(first)
    assert tried.tries == (first,)
    tried = tried.with_one(Try("two", "", ("text",), -0.5, None))
    page = tried.shown()
    assert "<b>" not in page
    assert page.index("two") < page.index("&lt;b&gt;one")
    assert "text, audio · example" in page
    assert "+0.25 to +0.50" in page
    assert Tried().shown() == ""
    for number in range(MOST_TRIES + 5):
        tried = tried.with_one(Try(f"words {number}", "", ("text",), 0.0, None))
    assert len(tried.tries) == MOST_TRIES
    assert re.findall(r"<td>(\d+)</td>", tried.shown())[0] == str(MOST_TRIES + 7)
