"""What others published of their methods: figures copied from two posters, beside which `fev-evaluate` puts its own.

None of them was measured here, and none on the clips that are evaluated: they are kept apart from what is.
"""

from __future__ import annotations

from dataclasses import dataclass

OORLOFF = "T. Oorloff and Y. Yacoob, Expressive Talking Head Video Encoding in StyleGAN2 Latent Space (2023)"
BOUNARELI = "S. Bounareli et al., Finding Directions in GAN's Latent Space for Neural Face Reenactment (2022)"


@dataclass(frozen=True)
class Published:
    """A table as printed.

    Attributes:
        rows: method -> a figure a column, with the decimals it was printed with.
    """

    key: str
    title: str
    source: str
    columns: tuple[str, ...]
    rows: dict[str, str]
    note: str


TABLES = (
    Published(
        "resynthesis",
        "Re-synthesis",
        f"{OORLOFF}, Table 1, from the poster",
        ("res.", "L1 ↓", "LPIPS ↓", "L_ID ↓", "PSNR ↑", "SSIM ↑", "FID ↓", "FVD ↓", "ρ_AU ↑", "ρ_gz ↑", "ρ_pose ↑"),
        {
            "FOMM": "256 3.07 0.036 0.174 31.0 0.932 28.7 140.3 0.710 0.755 0.648",
            "LIA": "256 3.24 0.042 0.164 30.0 0.929 30.2 162.9 0.546 0.693 0.619",
            "FS-Vid2Vid": "512 5.75 0.093 0.158 25.2 0.900 42.4 359.6 0.571 0.784 0.629",
            "StyleHEAT": "1024 4.13 0.097 0.134 27.6 0.933 25.1 281.9 0.673 0.701 0.763",
            "Oorloff & Yacoob": "1024 1.99 0.030 0.097 34.2 0.963 15.9 85.2 0.771 0.834 0.880",
            "StyleVideoGAN*": "1024 4.04 0.109 0.104 28.8 0.926 28.8 223.3 0.739 0.884 0.979",
            "Oorloff & Yacoob*": "1024 1.96 0.026 0.067 34.1 0.960 13.6 79.8 0.899 0.971 0.987",
        },
        "All but L_ID and the correlations over the face mask: to be held against the `masked` row only. Oorloff & "
        "Yacoob tune a generator on the very clip, and its weights are not in their 35 numbers a frame. The rows with "
        "a star belong together; the poster does not say what it stands for.",
    ),
    Published(
        "puppeteering",
        "Puppeteering",
        f"{OORLOFF}, Table 2, from the poster",
        ("res.", "L_ID ↓", "FID ↓", "FVD ↓", "FVD_M ↓", "ρ_AU+GZ ↑"),
        {
            "FOMM": "256 0.153 77.0 396.8 103.0 0.501",
            "LIA": "256 0.174 82.3 406.0 112.4 0.527",
            "FS-Vid2Vid": "512 0.202 73.6 445.1 112.7 0.640",
            "StyleHEAT": "1024 0.181 81.0 437.5 109.8 0.667",
            "Oorloff & Yacoob": "1024 0.095 63.9 386.5 82.3 0.708",
        },
        "Another task: the motion is another person's. L_ID is against the puppet's identity frame. The only FVD_M.",
    ),
    Published(
        "reenactment",
        "Re-enactment of the same person, and of another",
        f"{BOUNARELI}, poster",
        (
            "CSIM ↑", "LPIPS ↓", "FID ↓", "FVD ↓", "NME ↓", "Pose ↓", "Exp. ↓", "cross CSIM ↑", "cross Pose ↓",
            "cross Exp. ↓",
        ),
        {
            "X2Face": "0.70 0.13 35.5 409 17.8 1.5 0.90 0.57 2.2 1.5",
            "FOMM": "0.65 0.14 35.6 402 34.1 5.0 1.3 0.73 7.7 2.0",
            "Fast Bi-layer": "0.64 0.23 52.8 634 13.2 1.1 0.80 0.48 1.5 1.3",
            "Neural-Head": "0.40 0.22 98.4 587 15.5 1.3 0.90 0.36 1.7 1.6",
            "LSR": "0.59 0.13 45.7 464 17.8 1.0 0.75 0.50 1.4 1.2",
            "PIR": "0.71 0.12 57.2 414 18.2 1.86 0.94 0.62 2.2 1.4",
            "Bounareli et al.": "0.66 0.11 35.0 345 14.1 1.1 0.68 0.63 1.2 1.0",
        },
        "VoxCeleb, from one source picture; nothing is said of a mask. CSIM is 1 - L_ID, with an ArcFace; landmarks "
        "(NME), angles (Pose) and expression (Exp.) are not measured here.",
    ),
)  # fmt: skip

CAUTIONS = (
    "Published figures are of other clips (150 of the authors' own, which are not available; VoxCeleb): a difference "
    "between a measured and a published row is one of clips as well as of methods.",
    "The means of `masked` are over the whole square with all but the face black, as the published ones seem to be: "
    "that adds 4 to 5 dB to PSNR and divides L1 by about three. `inside` is what the face itself has.",
    "FID and FVD of one clip are Fréchet distances of few samples and lie far above those of many.",
)
