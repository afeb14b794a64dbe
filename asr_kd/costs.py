"""What work takes in private memory: pure functions of sizes and of constants.

They decide how many worker processes a memory budget has room for, and are upper estimates.
"""

MEGABYTE = 1_000_000

# A worker process with its libraries, before it has any data.
NUMPY_PROCESS = 60 * MEGABYTE
KALDI_PROCESS = 120 * MEGABYTE
TORCH_PROCESS = 400 * MEGABYTE

# Feature extraction, of a second of audio at 16 kHz: samples, padded samples, energies and features.
BYTES_A_SECOND = 600_000
# Gathering of GMM statistics, of a frame: transformed features, sorted copies, float64.
BYTES_A_STATISTICS_FRAME = 1_200
# Training, of a parameter: weight, gradient, two moments, the best weights, and a checkpoint on its way.
BYTES_A_PARAMETER = 28
# Training, of a logit of a batch: logits, log posteriors, soft targets, gradients.
BYTES_A_TRAINED_LOGIT = 40
# Scoring, of a posterior of a block of frames and a teacher: logits and log posteriors.
BYTES_A_SCORE = 12
# Learning of temperatures and weights on a sample of scores of dev, in float64 and some copies.
BYTES_A_SAMPLED_SCORE = 40
# A decoding graph, of a byte on disk: what is read, and laid out flat for the search.
BYTES_A_GRAPH_BYTE = 2.5


def features_memory(seconds: float) -> int:
    """Of a worker that computes features of so many seconds of audio at once."""
    return NUMPY_PROCESS + int(BYTES_A_SECOND * seconds)


def alignment_memory(statistics_frames: int) -> int:
    """Of a worker that aligns, and gathers statistics of so many frames at once."""
    return KALDI_PROCESS + BYTES_A_STATISTICS_FRAME * statistics_frames


def training_memory(shard_bytes: int, parameters: int, batch_frames: int, senones: int) -> int:
    """Of a process that trains a network.

    Args:
        shard_bytes: of training data that are held at once.
        parameters: of the network.
        batch_frames: of an update.
        senones: classes.
    """
    logits = batch_frames * senones * BYTES_A_TRAINED_LOGIT
    return TORCH_PROCESS + shard_bytes + parameters * BYTES_A_PARAMETER + logits


def scoring_memory(frames: int, senones: int, model_bytes: int, models: int = 1) -> int:
    """Of a process that scores with some models together.

    Args:
        frames: at once.
        senones: classes.
        model_bytes: of all models on disk.
        models: how many.
    """
    return TORCH_PROCESS + 2 * model_bytes + (models + 2) * frames * senones * BYTES_A_SCORE


def search_memory(graph_bytes: int) -> int:
    """Of a process that searches decoding graphs of so many bytes on disk."""
    return KALDI_PROCESS + int(BYTES_A_GRAPH_BYTE * graph_bytes)
