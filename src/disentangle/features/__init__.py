"""Features of one's own videos: what is heard and seen in each frame, and what is said when.

`python -m disentangle.features audio FILES... --out FOLDER` writes them for many files at once. Sound needs librosa:
the extra `audio`. OpenFace 2.0, a separate program, finds faces; its CSV files are read here.
"""

from disentangle.features.audio import AUDIO_FEATURES, AUDIO_FRAME_RATE, MMSA_AUDIO_FEATURES, audio_features
from disentangle.features.extract import Failed, extract_audio, extract_vision
from disentangle.features.openface import OPENFACE_FEATURES, openface_features
from disentangle.features.transcripts import Segment, read_transcript, text_between

__all__ = [
    "AUDIO_FEATURES",
    "AUDIO_FRAME_RATE",
    "MMSA_AUDIO_FEATURES",
    "OPENFACE_FEATURES",
    "Failed",
    "Segment",
    "audio_features",
    "extract_audio",
    "extract_vision",
    "openface_features",
    "read_transcript",
    "text_between",
]
