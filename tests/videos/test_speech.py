"""Words from sound, by a tiny speech model made here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from mmsa_suparc.errors import UserError
from mmsa_suparc.videos.media import ClipError
from mmsa_suparc.videos.speech import Listener
from tests.helpers.clips import make_clip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import (
        Wav2Vec2Config,
        Wav2Vec2CTCTokenizer,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForCTC,
        Wav2Vec2Processor,
    )

    folder = tmp_path_factory.mktemp("speech")
    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdef"]
    (folder / "vocab.json").write_text(json.dumps({one: n for n, one in enumerate(letters)}))
    tokenizer = Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))
    extractor = Wav2Vec2FeatureExtractor(return_attention_mask=False)
    Wav2Vec2Processor(feature_extractor=extractor, tokenizer=tokenizer).save_pretrained(folder)
    config = Wav2Vec2Config(
        vocab_size=len(letters), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, conv_dim=(8, 8), conv_stride=(10, 32), conv_kernel=(10, 32),
        num_feat_extract_layers=2, num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    Wav2Vec2ForCTC(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import (
        GenerationConfig,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperProcessor,
        WhisperTokenizer,
    )
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    folder = tmp_path_factory.mktemp("whisper")
    letters = {one: n for n, one in enumerate(bytes_to_unicode().values())}
    (folder / "vocab.json").write_text(json.dumps(letters))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = WhisperTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    stamps = [f"<|{step * 0.02:.2f}|>" for step in range(1501)]
    start, none = "<|startoftranscript|>", "<|notimestamps|>"
    tokenizer.add_tokens([start, none, *stamps], special_tokens=True)
    end = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    special = {
        "decoder_start_token_id": tokenizer.convert_tokens_to_ids(start),
        "bos_token_id": end, "eos_token_id": end, "pad_token_id": end,
    }  # fmt: skip
    extractor = WhisperFeatureExtractor(feature_size=16)
    WhisperProcessor(extractor, tokenizer).save_pretrained(folder)
    torch.manual_seed(0)
    network = WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=len(tokenizer), num_mel_bins=16, d_model=16, encoder_layers=1,
            decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
            encoder_ffn_dim=16, decoder_ffn_dim=16, max_target_positions=24, **special,
        )
    )  # fmt: skip
    network.generation_config = GenerationConfig(
        **special, no_timestamps_token_id=tokenizer.convert_tokens_to_ids(none),
        is_multilingual=False, max_length=20, return_timestamps=False,
    )  # fmt: skip
    network.save_pretrained(folder)
    return folder


def test_whisper_hears_more_than_half_a_minute(whisper: Path, tmp_path: Path) -> None:
    listen = Listener(str(whisper))
    assert listen(make_clip(tmp_path / "short.mp4"))
    long = make_clip(tmp_path / "long.mp4", seconds=40, fps=2, face=False)
    assert listen(long)


def test_a_clip_is_heard(model: Path, tmp_path: Path) -> None:
    listen = Listener(str(model))
    heard = listen(make_clip(tmp_path / "a.mp4"))
    assert heard
    assert set(heard.replace("<unk>", "").replace("<s>", "").replace("</s>", "")) <= set("abcdef ")
    assert listen(make_clip(tmp_path / "b.mp4", sound=None)) == ""
    with pytest.raises(ClipError, match="no such file"):
        listen(tmp_path / "none.mp4")


def test_a_model_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--speech-recognition .*: no such model"):
        Listener(str(tmp_path))
