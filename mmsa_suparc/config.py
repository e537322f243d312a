"""Typed configuration: layers of values, merged, each value remembering where it came from.

Precedence, lowest first: defaults < shared < data set < ``-c`` file < ``--set`` and flags.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model

from mmsa_suparc.errors import ConfigError, UserError, closest, nearest, shown
from mmsa_suparc.names import LARGEST_SEED, MOST_CLIPS, MOST_EPOCHS, MOST_LAYERS, MOST_UNITS
from mmsa_suparc.plain_files import DEEPEST, parse_yaml, read_mapping


def _not_a_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("expected a number, found true or false")
    return value


def _epochs_or_auto(value: Any) -> Any:
    if value == "auto" or (type(value) is int and 1 <= value <= MOST_EPOCHS):
        return value
    raise ValueError(f"expected auto or a number of epochs, 1 to {MOST_EPOCHS}")


Int = Annotated[int, BeforeValidator(_not_a_bool)]
Float = Annotated[float, BeforeValidator(_not_a_bool), Field(allow_inf_nan=False)]
Share = Annotated[Float, Field(ge=0, lt=1)]
#: What float32 holds; a rate that is only too large diverges, which the run then says.
Rate = Annotated[Float, Field(ge=0, le=1e38)]
Clips = Annotated[Int, Field(ge=1, le=MOST_CLIPS)]
Epochs = Annotated[Int, Field(ge=1, le=MOST_EPOCHS)]
Units = Annotated[Int, Field(ge=1, le=MOST_UNITS)]
Seed = Annotated[Int, Field(ge=0, le=LARGEST_SEED)]


class Settings(BaseModel):
    """Base of every schema: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class SupArcConfig(Settings):
    """Everything about SupArc that a configuration file can say."""

    # Text encoder
    pretrained: str = Field("bert-base-uncased", description="encoder name or folder")
    use_finetune: bool = Field(True, description="False freezes the text encoder")
    text_pooling: Literal["first", "mean"] = Field(
        "first", description="the last layer's first token, or the mean of its tokens"
    )
    layer_decay: Annotated[Float, Field(gt=0, le=1)] = Field(
        1.0, description="factor on the text encoder's learning rate, layer by layer downwards"
    )
    fast_encoder: bool = Field(
        True, description="compute a BERT, RoBERTa or DistilBERT without its padding"
    )
    # Model
    audio_hidden: Units = Field(16, description="BiLSTM units a direction")
    vision_hidden: Units = Field(32, description="BiLSTM units a direction")
    lstm_layers: Annotated[Int, Field(ge=1, le=MOST_LAYERS)] = Field(
        1, description="stacked BiLSTM layers"
    )
    sequence_pooling: Literal["last", "mean", "attention"] = Field(
        "last", description="of the BiLSTMs' states"
    )
    standardise: bool = Field(
        False, description="audio and vision by the training split's mean and deviation"
    )
    fusion_width: Units = Field(128, description="width of the fusion vector")
    dropout: Share = Field(0.1, description="on the inputs of both MLPs")
    shared_dropout: bool = Field(
        False, description="one mask for the complete fusion and the six masked ones of a step"
    )
    fusion_norm: Literal["none", "layer_norm", "projection"] = Field(
        "none", description="what each encoding passes before the fusion"
    )
    presence_flags: bool = Field(False, description="tell the fusion which modalities are there")
    mask_vector: Literal["zero", "learned"] = Field("zero", description="an absent modality")
    modalities: Annotated[list[Literal["text", "audio", "vision"]], Field(min_length=1)] = Field(
        default=["text", "audio", "vision"], description="the others are masked always"
    )
    # Contrastive loss
    contrastive: Literal["suparc", "rank_n_contrast", "hscl"] = Field(
        "suparc", description="the others are rivals to compare with"
    )
    threshold: Rate = Field(0.5, description="largest score difference of a positive pair")
    margin: Rate = Field(0.1, description="radians per score unit")
    margin_on: Literal["negatives", "positives", "both", "none"] = "negatives"
    margin_sign: Literal["subtract", "add"] = "subtract"
    margin_scale: Literal["score_difference", "constant"] = "score_difference"
    sampling: Literal["threshold", "class", "rounded"] = Field(
        "threshold", description="positives: near scores, of one sign, or of one rounded score"
    )
    temperature: Annotated[Float, Field(gt=0, le=1e38)] = 0.1
    weight_suparc: Rate = Field(0.1, description="α in MAE + α·SupArc + β·triplet + γ·masked")
    # Triplet loss
    weight_triplet: Rate = Field(0.1, description="β")
    triplet_margin: Rate = Field(0.1, description="in units of cosine")
    weight_masked: Rate = Field(
        1.0, description="γ, of the MAE of scores with one or two modalities masked"
    )
    mask_rate: Share = Field(0.0, description="augmentation: modalities masked for the MAE")
    # Training
    batch_size: Clips = 16
    contrastive_batch_size: Annotated[Int, Field(ge=0, le=MOST_CLIPS)] = Field(
        0, description="clips compared with each other, encoded batch_size at a time; 0: a batch"
    )
    evaluation_batch_size: Clips = Field(64, description="clips scored at a time")
    accumulation: Clips = Field(1, description="batches a step; pairs stay within a batch")
    epochs: Epochs = Field(15, description="at most")
    early_stop: Epochs = Field(8, description="epochs without improvement before stopping")
    KeyEval: str = Field("Loss", description="validation metric that selects the epoch")
    learning_rate_text: Rate = 5e-5
    learning_rate_audio: Rate = 1e-3
    learning_rate_vision: Rate = 1e-3
    learning_rate_other: Rate = 1e-3
    weight_decay: Rate = 1e-3
    warmup: Share = Field(0.1, description="share of the steps")
    schedule: Literal["linear", "cosine"] = Field("linear", description="after the warm-up, to 0")
    ema: Share = Field(0.0, description="decay of averaged weights, a step; 0: no averaging")
    bucket_by_length: bool = Field(True, description="batches of clips of about one length")
    clip_norm: Rate = Field(1.0, description="largest gradient norm; 0 for no clipping")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    compile: bool = Field(False, description="torch.compile the text encoder")
    save_every: Annotated[Literal["auto"] | int, BeforeValidator(_epochs_or_auto)] = Field(
        "auto", description="epochs between saved states; auto: as many as keep saving below 10%"
    )


#: Keys that change no result: two runs that differ there alone are the same run.
WITHOUT_EFFECT = frozenset({"save_every"})


def effective(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that a result depends on; without a fold nothing is pooled."""
    ignored = WITHOUT_EFFECT if values.get("fold") else WITHOUT_EFFECT | {"fold", "pool"}
    return {key: value for key, value in values.items() if key not in ignored}


@dataclass(frozen=True)
class Layer:
    """Values with one source: ``suparc.yaml: shared``, ``--set``, a file's path …"""

    source: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Merged:
    """The values in force and, key by key, the source of each."""

    values: dict[str, Any]
    sources: dict[str, str] = field(repr=False)


def merge(layers: Iterable[Layer]) -> Merged:
    """Later layers win; nested mappings are merged key by key."""
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for layer in layers:
        for key, value in layer.values.items():
            if isinstance(value, Mapping) and isinstance(values.get(key), Mapping):
                value = _merge_mappings(values[key], value)
            values[key] = value
            sources[key] = layer.source
    return Merged(values, sources)


def _merge_mappings(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            value = _merge_mappings(merged[key], value)
        merged[key] = value
    return merged


def validate(merged: Merged, schema: type[BaseModel]) -> dict[str, Any]:
    """The values, typed by the schema.

    Raises:
        ConfigError: one line that names the source, the key and, for an unknown key, the
            nearest one.
    """
    known = schema.model_fields
    for key in merged.values:
        if key not in known:
            hint = nearest(key, known)
            raise ConfigError(f"{merged.sources[key]}: unknown key {shown(key)}{hint}")
    try:
        return schema.model_validate(merged.values).model_dump()
    except ValidationError as error:
        first, *others = error.errors()
        source = merged.sources.get(str(first["loc"][0]), "default")
        also = f" (and {len(others)} more)" if others else ""
        raise ConfigError(f"{source}: {first_of(error, with_value=True)}{also}") from None


def schema_from(name: str, defaults: Mapping[str, Any]) -> type[Settings]:
    """A schema that expects of each key the type of its default value."""
    fields: dict[str, Any] = {key: (_type_of(value), value) for key, value in defaults.items()}
    return create_model(name, __base__=Settings, **fields)


def extended(schema: type[BaseModel], more: Mapping[str, Any]) -> type[BaseModel]:
    """The schema and, for the keys that it lacks, those of ``more`` typed by their defaults."""
    fields: dict[str, Any] = {
        key: (_type_of(value), value)
        for key, value in more.items()
        if key not in schema.model_fields
    }
    return create_model(schema.__name__, __base__=schema, **fields)


def _type_of(value: Any) -> Any:
    if isinstance(value, bool):
        return bool
    if isinstance(value, int):
        return Int
    if isinstance(value, float):
        return Float
    for kind in (str, Sequence, Mapping):
        if isinstance(value, kind):
            return list[Any] if kind is Sequence else str if kind is str else dict[str, Any]
    return Any


def read_file(path: str | Path) -> dict[str, Any]:
    """A YAML or JSON file that holds one mapping.

    Raises:
        UserError: absent, unreadable, or no mapping: one line naming file and place.
    """
    return read_mapping(Path(path).expanduser())


#: Keys by which a run folder's config.yaml says what it is of.
IDENTITY = {"model_name": "model", "dataset_name": "data set"}


def sections(
    content: Mapping[str, Any], source: str, *, model: str, dataset: str
) -> Iterator[Layer]:
    """The layers that a file holds for one model on one data set, lowest first.

    Understands a flat file, one with the sections ``shared`` and ``datasets``, the toolkit's
    own JSON (``datasetCommonParams`` and one entry a model), and a run folder's config.yaml.

    Raises:
        ConfigError: something else stands where a section belongs, or the file is of another run.
    """
    if "datasetCommonParams" in content:
        yield from _toolkit_sections(content, source, model=model, dataset=dataset)
    elif "commonParams" in content or "datasetParams" in content:
        yield section(content, source, "commonParams")
        yield section(content, source, "datasetParams", dataset)
    elif "shared" in content or "datasets" in content:
        stray = set(content) - {"shared", "datasets", "tune"}
        if stray:
            raise ConfigError(
                f"{source}: unknown section '{min(stray)}'; expected 'shared' and 'datasets'"
            )
        yield section(content, source, "shared")
        yield replace(section(content, source, "datasets", dataset), source=f"{source}: {dataset}")
    else:
        for key, what in IDENTITY.items():
            expected = model if key == "model_name" else dataset
            if content.get(key, expected) != expected:
                raise ConfigError(
                    f"{source}: is of {what} {shown(content[key])}; this run is of '{expected}'"
                )
        yield Layer(
            source,
            {k: v for k, v in content.items() if k not in IDENTITY and k not in ("seed", "tune")},
        )


def section(content: Mapping[str, Any], source: str, *path: str) -> Layer:
    """What stands below these keys, one in the other; nothing where one is absent or empty.

    Raises:
        ConfigError: something else than ``key: value`` lines stands there.
    """
    values: Any = content
    for place, key in enumerate(path):
        values = values.get(key)
        if values is None:
            values = {}
        if not isinstance(values, Mapping):
            raise ConfigError(
                f"{source}: {'.'.join(path[: place + 1])} = {shown(values)}: expected 'key: value' "
                "lines"
            )
    return Layer(f"{source}: {'.'.join(path)}", values)


def _toolkit_sections(
    content: Mapping[str, Any], source: str, *, model: str, dataset: str
) -> Iterator[Layer]:
    """The toolkit's JSON, read as its ``config.py`` reads it."""
    common = section(content, source, model, "commonParams")
    data = section(content, source, "datasetCommonParams", dataset).values
    if data:
        aligned = common.values.get("need_data_aligned") and "aligned" in data
        kind = "aligned" if aligned else "unaligned"
        values = section(content, source, "datasetCommonParams", dataset, kind).values
        yield Layer(f"{source}: datasetCommonParams.{dataset}", values)
    if content.get(model) is not None:
        yield common
        yield section(content, source, model, "datasetParams", dataset)


def assignments(pairs: Iterable[str], source: str = "--set") -> Layer:
    """``--set key=value`` arguments; dots name nested keys, values are read as YAML."""
    values: dict[str, Any] = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator or not key.strip():
            raise ConfigError(f"{source} {shown(pair)}: expected key=value")
        try:
            value = parse_yaml(text, source) if text else ""
        except UserError:
            value = text
        *parents, last = key.strip().split(".")
        if len(parents) >= DEEPEST:
            raise ConfigError(f"{source} {shown(pair)}: more than {DEEPEST} levels of keys")
        level = values
        for parent in parents:
            level = level.setdefault(parent, {})
            if not isinstance(level, dict):
                raise ConfigError(
                    f"{source} {shown(pair)}: {shown(parent)} was given a value before"
                )
        level[last] = value
    return Layer(source, values)


def find_shipped(kind: str, folder: str, name: str) -> Path:
    """A file by its path, or one of ``plugin_configs()/folder`` by its name.

    Args:
        kind: what to call it in the message.

    Raises:
        UserError: neither.
    """
    path = Path(name).expanduser()
    if path.exists() and not path.is_dir():
        return path
    shipped = shipped_files(folder)
    if name in shipped:
        return shipped[name]
    raise UserError(
        f"{kind} {name}: no such file, and none of that name comes with the package"
        f"{closest(name, shipped)}; it has {', '.join(shipped)}"
    )


def shipped_files(folder: str) -> dict[str, Path]:
    """The files of ``plugin_configs()/folder`` by name, in order."""
    return {file.stem: file for file in sorted((plugin_configs() / folder).glob("*.yaml"))}


def plugin_configs() -> Path:
    """The folder ``plugin_configs``: inside an installed package, beside it in a checkout."""
    package = Path(__file__).parent
    installed = package / "plugin_configs"
    return installed if installed.is_dir() else package.parent / "plugin_configs"


def first_of(error: ValidationError, *, with_value: bool = False) -> str:
    """The first thing that a schema has against some values: where, the value if asked, what."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if with_value:
        where += f" = {shown(first['input'])}"
    message = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return ": ".join(filter(None, (where, message)))
